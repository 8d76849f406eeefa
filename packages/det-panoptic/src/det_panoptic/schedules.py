"""The learning-rate schedule of DeepLab."""

from dataclasses import dataclass

from det_core.engine.schedules import warmup_factor
from det_core.errors import ConfigError

__all__ = ["WarmupPoly"]


@dataclass(frozen=True)
class WarmupPoly:
    """Fall from 1 at step 0 to 0 at step `steps` as a power of what is left, after a linear warmup (DeepLab, 2017).

    Args:
        steps: the length of the whole training; `Train` knows it.
        power: 1 falls in a straight line.
        end: after the warmup, the factor falls no lower than this.
        warmup: number of warmup steps; 0 for none.
        warmup_start: the factor at step 0.
    """

    steps: int
    power: float = 0.9
    end: float = 0.0
    warmup: int = 1000
    warmup_start: float = 0.001

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError("WarmupPoly.steps", "must be at least 1", f"got {self.steps}")
        if self.warmup < 0:
            raise ConfigError("WarmupPoly.warmup", "must not be negative", f"got {self.warmup}", "0 means no warmup")
        for name, value in (("end", self.end), ("warmup_start", self.warmup_start)):
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"WarmupPoly.{name}", "must lie between 0 and 1", f"got {value}")

    def __call__(self, step: int) -> float:
        """The factor at `step`; past the end it stays at `end`."""
        left = max(0.0, 1.0 - step / self.steps) ** self.power
        if step >= self.warmup:
            return max(left, self.end)
        return warmup_factor(step, self.warmup, self.warmup_start) * left
