"""Learning rates as D2Go warms them up: along a line to the rate that follows, instead of on top of its schedule."""

import math
from dataclasses import dataclass
from typing import Literal

from det_core.errors import ConfigError

__all__ = ["JoinedWarmupCosine"]


@dataclass(frozen=True)
class JoinedWarmupCosine:
    """Half a cosine from 1 to `end`, its first steps replaced by a line from `warmup_start` to where it then stands.

    Args:
        steps: number of steps of the training; set by `Train`.
        end: factor of the learning rate at step `steps`.
        warmup: number of warmup steps; 0 for none.
        warmup_start: factor of the learning rate at step 0.
        warmup_form: "linear", or "constant" to stay at `warmup_start` during warmup.
        rescale: whether the cosine starts after the warmup instead of at step 0.
    """

    steps: int
    end: float = 0.0
    warmup: int = 1000
    warmup_start: float = 0.001
    warmup_form: Literal["linear", "constant"] = "linear"
    rescale: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.warmup < 0 or not 0 <= self.warmup_start <= 1:
            found = f"got {self.steps}, {self.warmup} and {self.warmup_start}"
            raise ConfigError("JoinedWarmupCosine", "needs steps, no negative warmup, and a start in [0, 1]", found)

    def __call__(self, step: int) -> float:
        """The factor at `step`; past the end it stays at `end`."""
        if step >= self.warmup:
            return self._cosine(step)
        if self.warmup_form == "constant":
            return self.warmup_start
        share = step / self.warmup
        return self.warmup_start * (1 - share) + self._cosine(self.warmup) * share

    def _cosine(self, step: int) -> float:
        begin = self.warmup if self.rescale else 0
        share = min((step - begin) / max(self.steps - begin, 1), 1.0)
        return self.end + (1 - self.end) * 0.5 * (1 + math.cos(math.pi * share))
