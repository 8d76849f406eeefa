"""Learning-rate schedules: pure functions from the step to a factor on the learning rate.

A schedule is any callable `step -> factor`; step 0 is the first. A recipe names one under `train.schedule`, and `Train`
adds the number of `steps` to its arguments if it has such a parameter.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from det_core.errors import ConfigError

__all__ = ["OneCycle", "Schedule", "WarmupCosine", "WarmupMultiStep", "WarmupPoly", "WarmupSteps", "warmup_factor"]

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
        gamma: factor on the learning rate at each milestone.
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
        steps: number of steps of the whole training, which `Train` passes.
        end: the factor at step `steps`, which is after the last one trained.
        warmup: number of warmup steps; 0 for none.
        warmup_start: the factor at step 0.
    """

    steps: int
    end: float = 0.0
    warmup: int = 1000
    warmup_start: float = 0.001

    def __post_init__(self) -> None:
        _check_steps("WarmupCosine", self.steps)
        _check_warmup("WarmupCosine", self.warmup, self.warmup_start)

    def __call__(self, step: int) -> float:
        """The factor at `step`; past the end it stays at `end`."""
        share = min(step / self.steps, 1.0)
        cosine = self.end + (1.0 - self.end) * 0.5 * (1.0 + math.cos(math.pi * share))
        return warmup_factor(step, self.warmup, self.warmup_start) * cosine


@dataclass(frozen=True)
class WarmupSteps:
    """Multiply the rate by `gamma` at equal distances, after a linear warmup.

    Args:
        steps: number of steps of the whole training, which `Train` passes.
        decays: number of decays of the rate: after steps / (decays + 1), and so on.
        gamma: factor of each of them.
        warmup: number of warmup steps; 0 for none.
        warmup_start: the factor at step 0.
    """

    steps: int
    decays: int = 3
    gamma: float = 0.1
    warmup: int = 1000
    warmup_start: float = 0.001

    def __post_init__(self) -> None:
        _check_steps("WarmupSteps", self.steps)
        if self.decays < 0:
            raise ConfigError("WarmupSteps.decays", "must not be negative", f"got {self.decays}")
        _check_warmup("WarmupSteps", self.warmup, self.warmup_start)

    def __call__(self, step: int) -> float:
        """The factor at `step`."""
        passed = min(step * (self.decays + 1) // self.steps, self.decays)
        return warmup_factor(step, self.warmup, self.warmup_start) * self.gamma**passed


@dataclass(frozen=True)
class WarmupPoly:
    """Fall from 1 at step 0 to 0 at step `steps` as (1 - step / steps) ** power (DeepLab, 2017), after a warmup.

    Args:
        steps: number of steps of the whole training, which `Train` passes.
        power: exponent of the decay; 1 is a straight line.
        end: after the warmup, the factor falls no lower than this, as published.
        warmup: number of warmup steps; 0 for none.
        warmup_start: the factor at step 0.
    """

    steps: int
    power: float = 0.9
    end: float = 0.0
    warmup: int = 1000
    warmup_start: float = 0.001

    def __post_init__(self) -> None:
        _check_steps("WarmupPoly", self.steps)
        _check_warmup("WarmupPoly", self.warmup, self.warmup_start)

    def __call__(self, step: int) -> float:
        """The factor at `step`; past the end it stays at `end`."""
        left = max(1.0 - step / self.steps, 0.0) ** self.power
        return (
            max(left, self.end) if step >= self.warmup else warmup_factor(step, self.warmup, self.warmup_start) * left
        )


@dataclass(frozen=True)
class OneCycle:
    """Rise along half a cosine from `start` to 1, then fall along another to `end` (Smith and Topin, 2018).

    Args:
        steps: number of steps of the whole training, which `Train` passes.
        rise: the share of the steps in which the rate rises.
        start: the factor at step 0.
        end: the factor at step `steps`.
    """

    steps: int
    rise: float = 0.3
    start: float = 0.04
    end: float = 4e-6

    def __post_init__(self) -> None:
        _check_steps("OneCycle", self.steps)
        if not 0 < self.rise < 1:
            raise ConfigError("OneCycle.rise", "must lie between 0 and 1", f"got {self.rise}")

    def __call__(self, step: int) -> float:
        """The factor at `step`; past the end it stays at `end`."""
        top, share = self.rise * self.steps, float(min(step, self.steps))
        if share < top:
            return self.start + (1 - self.start) * 0.5 * (1 - math.cos(math.pi * share / top))
        return self.end + (1 - self.end) * 0.5 * (1 + math.cos(math.pi * (share - top) / (self.steps - top)))


def _check_steps(name: str, steps: int) -> None:
    if steps < 1:
        raise ConfigError(f"{name}.steps", "must be at least 1", f"got {steps}")


def _check_warmup(name: str, warmup: int, start: float) -> None:
    if warmup < 0:
        raise ConfigError(f"{name}.warmup", "must not be negative", f"got {warmup}", "0 means no warmup")
    if not 0.0 <= start <= 1.0:
        raise ConfigError(f"{name}.warmup_start", "must lie between 0 and 1", f"got {start}")
