"""Learning rates over a training, as `detectron2.solver.lr_scheduler`."""

import bisect
import logging
import math
from collections.abc import Sequence
from typing import Any

from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    ConstantParamScheduler,
    LinearParamScheduler,
    ParamScheduler,
)
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

__all__ = ["LRMultiplier", "WarmupCosineLR", "WarmupMultiStepLR", "WarmupParamScheduler"]


class WarmupParamScheduler(CompositeParamScheduler):  # type: ignore[misc,unused-ignore]
    """Adds a warm-up to another scheduler.

    Args:
        scheduler: scheduler after the warm-up.
        warmup_factor: initial value as a multiple of the scheduler's value.
        warmup_length: length of the warm-up as a fraction of the training, in [0, 1].
        warmup_method: shape of the warm-up, "linear" or "constant".
        rescale_interval: whether the whole schedule is fitted into the time after the warm-up.
    """

    def __init__(
        self,
        scheduler: ParamScheduler,
        warmup_factor: float,
        warmup_length: float,
        warmup_method: str = "linear",
        rescale_interval: bool = False,
    ) -> None:
        end = scheduler(0.0) if rescale_interval else scheduler(warmup_length)
        start = warmup_factor * scheduler(0.0)
        if warmup_method == "constant":
            warmup: ParamScheduler = ConstantParamScheduler(start)
        elif warmup_method == "linear":
            warmup = LinearParamScheduler(start, end)
        else:
            raise ValueError(f"Unknown warmup method: {warmup_method}; there are linear and constant")
        super().__init__(
            [warmup, scheduler],
            interval_scaling=["rescaled", "rescaled" if rescale_interval else "fixed"],
            lengths=[warmup_length, 1 - warmup_length],
        )


class LRMultiplier(LRScheduler):
    """Multiplies the initial rates of an optimizer by a scheduler of the share of the training that is done.

    Args:
        optimizer: optimizer whose learning rates are set.
        multiplier: scheduler from the fraction of training done, in [0, 1], to a learning rate multiplier.
        max_iter: total number of iterations.
        last_iter: index of the last finished iteration; -1 at the start.
    """

    def __init__(self, optimizer: Optimizer, multiplier: ParamScheduler, max_iter: int, last_iter: int = -1) -> None:
        if not isinstance(multiplier, ParamScheduler):
            raise ValueError(f"_LRMultiplier(multiplier=) must be an instance of fvcore ParamScheduler: {multiplier}")
        self._multiplier, self._max_iter = multiplier, max_iter
        super().__init__(optimizer, last_epoch=last_iter)

    def state_dict(self) -> dict[str, object]:
        """The initial rates and the step."""
        return {"base_lrs": self.base_lrs, "last_epoch": self.last_epoch}

    def get_lr(self) -> list[Any]:
        """The rates of this step."""
        factor = self._multiplier(self.last_epoch / self._max_iter)
        return [rate * factor for rate in self.base_lrs]


class WarmupMultiStepLR(LRScheduler):
    """Warm-up, then drops by `gamma` at `milestones`."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        warmup_factor: float = 0.001,
        warmup_iters: int = 1000,
        warmup_method: str = "linear",
        last_epoch: int = -1,
    ) -> None:
        logging.getLogger(__name__).warning(
            "WarmupMultiStepLR is deprecated: use LRMultiplier with fvcore's schedulers"
        )
        if list(milestones) != sorted(milestones):
            raise ValueError(f"Milestones should be a list of increasing integers. Got {milestones}")
        self.milestones, self.gamma = list(milestones), gamma
        self.warmup = (warmup_method, warmup_iters, warmup_factor)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates of this step."""
        factor = _warmup(*self.warmup, self.last_epoch)
        drops = bisect.bisect_right(self.milestones, self.last_epoch)
        return [rate * factor * self.gamma**drops for rate in self.base_lrs]


class WarmupCosineLR(LRScheduler):
    """Warm-up, then half a cosine to 0 at `max_iters`."""

    def __init__(
        self,
        optimizer: Optimizer,
        max_iters: int,
        warmup_factor: float = 0.001,
        warmup_iters: int = 1000,
        warmup_method: str = "linear",
        last_epoch: int = -1,
    ) -> None:
        logging.getLogger(__name__).warning("WarmupCosineLR is deprecated: use LRMultiplier with fvcore's schedulers")
        self.max_iters, self.warmup = max_iters, (warmup_method, warmup_iters, warmup_factor)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates of this step."""
        factor = _warmup(*self.warmup, self.last_epoch)
        cosine = 0.5 * (1.0 + math.cos(math.pi * self.last_epoch / self.max_iters))
        return [rate * factor * cosine for rate in self.base_lrs]


def _warmup(method: str, iters: int, start: float, step: int) -> float:
    """The factor of a warm-up at a step."""
    if step >= iters:
        return 1.0
    if method == "constant":
        return start
    if method == "linear":
        done = step / iters
        return start * (1 - done) + done
    raise ValueError(f"Unknown warmup method: {method}; there are linear and constant")
