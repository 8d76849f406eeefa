"""Loggers of scalars to experiment trackers; each requires its package, and none uses a network by default."""

import importlib
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from det_core.errors import MissingExtraError

if TYPE_CHECKING:
    from det_core.engine import Trainer

__all__ = ["MLflow", "TensorBoard", "WandB"]


def _require(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        fix = f"pip install 'det-inspect[{package}]'"
        raise MissingExtraError("train.callbacks", f"needs {package}, which is not installed", fix=fix) from error


class TensorBoard:
    """Writes every row of scalars as TensorBoard events.

    Args:
        folder: folder of the event files, within the run's folder.
    """

    def __init__(self, folder: str = "tensorboard") -> None:
        self.folder = folder
        self._module = _require("torch.utils.tensorboard", "tensorboard")
        self._writer: Any = None

    def on_start(self, trainer: "Trainer") -> None:
        """Open the file; events after the step that a run goes on from are dropped by TensorBoard itself."""
        if trainer.processes.rank == 0:
            self._writer = self._module.SummaryWriter(trainer.folder.path / self.folder, purge_step=trainer.step + 1)

    def after_log(self, trainer: "Trainer", scalars: Mapping[str, float]) -> None:
        """Add a row."""
        for name, value in scalars.items():
            self._writer.add_scalar(name if "/" in name else f"train/{name}", value, trainer.step)

    def on_end(self, trainer: "Trainer") -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


class MLflow:
    """Logs scalars and the resolved recipe to MLflow, by default into a folder of the run.

    Args:
        tracking_uri: a folder, a database or a server; None: that of the environment variable `MLFLOW_TRACKING_URI`, or
            the folder `mlruns` of the run where it is not set.
        experiment: name of the experiment in MLflow.
    """

    def __init__(self, tracking_uri: str | None = None, experiment: str = "det") -> None:
        self.tracking_uri, self.experiment, self.run_id = tracking_uri, experiment, None
        self._module = _require("mlflow", "mlflow")

    run_id: str | None

    def on_start(self, trainer: "Trainer") -> None:
        """Open the run, or the one that is resumed."""
        if trainer.processes.rank == 0:
            # MLflow refuses folders unless they are asked for; a database needs more than mlflow-skinny brings.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            default = os.environ.get("MLFLOW_TRACKING_URI") or (trainer.folder.path / "mlruns").resolve().as_uri()
            self._module.set_tracking_uri(self.tracking_uri or default)
            self._module.set_experiment(self.experiment)
            self.run_id = self._module.start_run(run_id=self.run_id).info.run_id
            self._module.log_text(trainer.recipe.to_yaml(), "recipe.resolved.yaml")

    def after_log(self, trainer: "Trainer", scalars: Mapping[str, float]) -> None:
        """Add a row; the names of MLflow know no "@"."""
        row = {name.replace("@", "-"): value for name, value in scalars.items() if math.isfinite(value)}
        self._module.log_metrics(row, step=trainer.step)

    def on_end(self, trainer: "Trainer") -> None:
        """Close the run."""
        if trainer.processes.rank == 0:
            self._module.end_run()

    def state_dict(self) -> dict[str, Any]:
        """The id of the run."""
        return {"run_id": self.run_id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with that run."""
        self.run_id = state["run_id"]


class WandB:
    """Logs scalars and the recipe to Weights & Biases, offline by default.

    Args:
        project: name of the project in Weights & Biases.
        mode: "offline" writes files that `wandb sync` uploads; "online" sends at once.
    """

    def __init__(self, project: str = "det", mode: str = "offline") -> None:
        self.project, self.mode, self.run_id = project, mode, None
        self._module = _require("wandb", "wandb")
        self._run: Any = None

    run_id: str | None

    def on_start(self, trainer: "Trainer") -> None:
        """Open the run, or the one that is resumed."""
        if trainer.processes.rank == 0:
            self._run = self._module.init(
                project=self.project,
                mode=self.mode,
                dir=trainer.folder.path,
                id=self.run_id,
                resume="allow",
                config=dict(trainer.recipe.tree),
            )
            self.run_id = self._run.id

    def after_log(self, trainer: "Trainer", scalars: Mapping[str, float]) -> None:
        """Add a row."""
        self._run.log(dict(scalars), step=trainer.step)

    def on_end(self, trainer: "Trainer") -> None:
        """Close the run."""
        if self._run is not None:
            self._run.finish()

    def state_dict(self) -> dict[str, Any]:
        """The id of the run."""
        return {"run_id": self.run_id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with that run."""
        self.run_id = state["run_id"]
