"""Checkpoints of the best evaluation by a metric beside `train.best_metric`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from det_inspect.training.early_stopping import BestMetric, Mode

if TYPE_CHECKING:
    from det_core.engine.callbacks.base import Training

__all__ = ["BestCheckpoint"]


class BestCheckpoint:
    """Keeps the weights of the best evaluation by one more metric, as `best-NAME.safetensors`.

    Args:
        metric: name of a metric or loss, such as "segm/AP"; a slash becomes a dash in the name of the file.
        mode: whether higher ("max") or lower ("min") values are better; None: lower for a loss, higher for others.
    """

    def __init__(self, metric: str, mode: Mode | None = None) -> None:
        self._best = BestMetric(metric, mode)

    def after_evaluation(self, trainer: "Training", metrics: Mapping[str, float]) -> None:
        """Write the weights if they are the best so far."""
        if self._best.improves(metrics):
            path = trainer.folder.path / f"best-{self._best.metric.replace('/', '-')}.safetensors"
            trainer.save_weights(path)

    def state_dict(self) -> dict[str, Any]:
        """The best value."""
        return {"best": self._best.value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the best value."""
        self._best.value = state["best"]
