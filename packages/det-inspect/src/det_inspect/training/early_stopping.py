"""Early stopping: ends a training whose metric no longer improves."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from det_core.errors import ConfigError

if TYPE_CHECKING:
    from det_core.engine.callbacks.base import Training

__all__ = ["BestMetric", "EarlyStopping", "Mode"]

Mode = Literal["max", "min"]


class BestMetric:
    """The best value of a metric so far.

    Args:
        metric: name of a metric or loss of the evaluation.
        mode: whether higher ("max") or lower ("min") values are better; None: lower for a loss, higher for others.
    """

    def __init__(self, metric: str, mode: Mode | None) -> None:
        self.metric = metric
        self.mode: Mode = mode or ("min" if metric.startswith("loss") else "max")
        self.value: float | None = None

    def improves(self, metrics: Mapping[str, float], by: float = 0.0) -> bool:
        """Whether the metric is better than before by more than `by`; then it is the best from here on."""
        if self.metric not in metrics:
            found = f"found {', '.join(metrics) or 'no metric at all'}"
            raise ConfigError("train.callbacks", f"there is no metric {self.metric!r}", found)
        value, sign = metrics[self.metric], 1 if self.mode == "max" else -1
        better = self.value is None or sign * (value - self.value) > by
        if better:
            self.value = value
        return better


class EarlyStopping:
    """Ends a training whose metric has not improved for a number of evaluations.

    Args:
        metric: name of a metric or loss of the evaluation, such as "bbox/AP" or "loss".
        patience: number of evaluations in a row without improvement after which the training ends; at least 1.
        min_delta: smallest change of the metric, in its own unit, that counts as an improvement.
        mode: whether higher ("max") or lower ("min") values are better; None: lower for a loss, higher for others.
    """

    def __init__(self, metric: str, patience: int = 5, min_delta: float = 0.0, mode: Mode | None = None) -> None:
        if patience < 1:
            raise ConfigError("EarlyStopping.patience", "must be at least 1", f"got {patience}")
        self.patience, self.min_delta, self.bad = patience, min_delta, 0
        self._best = BestMetric(metric, mode)

    def after_evaluation(self, trainer: "Training", metrics: Mapping[str, float]) -> None:
        """Count evaluations without improvement."""
        self.bad = 0 if self._best.improves(metrics, self.min_delta) else self.bad + 1
        if self.bad >= self.patience:
            value = f"{self._best.metric} has not passed {self._best.value:.4f} in {self.bad} evaluations"
            trainer.request_stop(f"early stopping: {value}")

    def state_dict(self) -> dict[str, Any]:
        """The best value, and how long ago it was."""
        return {"best": self._best.value, "bad": self.bad}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        self._best.value, self.bad = state["best"], state["bad"]
