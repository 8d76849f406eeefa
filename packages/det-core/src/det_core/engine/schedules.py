"""Learning-rate schedules: pure functions from the step to a factor on the learning rate.

A schedule is any callable `step -> factor`; step 0 is the first. A recipe names one under `train.schedule`, and `Train`
adds the number of `steps` to its arguments if it has such a parameter.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from det_core.errors import ConfigError

__all__ = ["Schedule", "WarmupCosine", "WarmupMultiStep", "warmup_factor"]

Schedule = Callable[[int], float]


def warmup_factor(step: int, warmup: int, start: float) -> float:
    """Rise in a straight line from `start` at step 0 to 1 at step `warmup`, and stay there (Goyal et al., 2017)."""
    if step >= warmup:
        return 1.0
    share = step / warmup
    return start * (1.0 - share) + share


@dataclass(frozen=True)
class WarmupMultiStep:
    """Multiply the rate by `gamma` at each milestone, after a linear warmup.

    Args:
        milestones: rising step numbers; the rate falls from that step on. Empty: constant.
        gamma: what each milestone multiplies by.
        warmup: number of warmup steps; 0 for none.
        warmup_start: the factor at step 0.
    """

    milestones: Sequence[int] = ()
    gamma: float = 0.1
    warmup: int = 1000
    warmup_start: float = 0.001

    def __post_init__(self) -> None:
        if list(self.milestones) != sorted(self.milestones):
            raise ConfigError("WarmupMultiStep.milestones", "must be in rising order", f"got {list(self.milestones)}")
        _check_warmup("WarmupMultiStep", self.warmup, self.warmup_start)

    def __call__(self, step: int) -> float:
        """The factor at `step`."""
        passed = sum(step >= milestone for milestone in self.milestones)
        return warmup_factor(step, self.warmup, self.warmup_start) * self.gamma**passed


@dataclass(frozen=True)
class WarmupCosine:
    """Fall from 1 at step 0 to `end` at step `steps` along half a cosine, after a linear warmup (SGDR, 2017).

    Args:
        steps: the length of the whole training; `Train` knows it.
        end: the factor at step `steps`, which is after the last one trained.
        warmup: number of warmup steps; 0 for none.
        warmup_start: the factor at step 0.
    """

    steps: int
    end: float = 0.0
    warmup: int = 1000
    warmup_start: float = 0.001

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError("WarmupCosine.steps", "must be at least 1", f"got {self.steps}")
        _check_warmup("WarmupCosine", self.warmup, self.warmup_start)

    def __call__(self, step: int) -> float:
        """The factor at `step`; past the end it stays at `end`."""
        share = min(step / self.steps, 1.0)
        cosine = self.end + (1.0 - self.end) * 0.5 * (1.0 + math.cos(math.pi * share))
        return warmup_factor(step, self.warmup, self.warmup_start) * cosine


def _check_warmup(name: str, warmup: int, start: float) -> None:
    if warmup < 0:
        raise ConfigError(f"{name}.warmup", "must not be negative", f"got {warmup}", "0 means no warmup")
    if not 0.0 <= start <= 1.0:
        raise ConfigError(f"{name}.warmup_start", "must lie between 0 and 1", f"got {start}")
