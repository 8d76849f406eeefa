"""An exponential moving average of the weights (Polyak and Juditsky, 1992; Tarvainen and Valpola, 2017)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from det_core.errors import ConfigError

if TYPE_CHECKING:
    from det_core.engine.callbacks.base import Training

__all__ = ["EMA"]


class EMA:
    """Averages the weights over the steps; the average is evaluated and saved, the raw weights are trained.

    After step t (1, 2 ...) the average is `decay_t` times itself plus (1 - `decay_t`) times the weights, where
    `decay_t` is min(`decay`, (1 + t) / (`warmup` + t)), so that early averages forget the initial weights.

    Args:
        decay: weight of the old average in each step, in [0, 1); near 1 averages many steps.
        warmup: time constant in steps with which the decay rises to its value; 0 for no warmup.
        buffers: average floating-point buffers, such as running statistics, too; false takes the newest.
    """

    def __init__(self, decay: float = 0.9998, warmup: int = 10, buffers: bool = True) -> None:
        if not 0 <= decay < 1 or warmup < 0:
            raise ConfigError("train.ema", "needs a decay in [0, 1) and no negative warmup", f"got {decay}, {warmup}")
        self.decay, self.warmup, self.buffers = decay, warmup, buffers
        self.average: dict[str, Tensor] = {}
        self.updates = 0

    def on_start(self, trainer: "Training") -> None:
        """Begin with the weights as they are, unless a resumed run brought its average."""
        tensors = self._tensors(trainer.model)
        if not self.average:
            self.average = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        self.average = {name: value.to(tensors[name].device) for name, value in self.average.items()}

    @torch.no_grad()
    def after_step(self, trainer: "Training", scalars: Mapping[str, float]) -> None:
        """Take the new weights into the average."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (self.warmup + self.updates)) if self.warmup else self.decay
        tensors = self._tensors(trainer.model)
        for name, value in self.average.items():
            value.lerp_(tensors[name], 1 - decay)

    @contextmanager
    def evaluation_weights(self, trainer: "Training") -> Iterator[None]:
        """The average in place of the weights."""
        tensors = self._tensors(trainer.model)
        raw = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        _copy(tensors, self.average)
        try:
            yield
        finally:
            # Precise-BN may have set statistics meanwhile: these are of the average.
            _copy(self.average, tensors)
            _copy(tensors, raw)

    def state_dict(self) -> dict[str, Any]:
        """The average and its number of steps."""
        return {"average": dict(self.average), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a saved average."""
        self.average, self.updates = dict(state["average"]), int(state["updates"])

    def _tensors(self, model: nn.Module) -> dict[str, Tensor]:
        named: dict[str, Tensor] = {
            name: p for name, p in model.named_parameters() if p.requires_grad or name in self.average
        }
        if self.buffers:
            named |= {n: b for n, b in model.named_buffers() if b.is_floating_point() and n in model.state_dict()}
        return named


@torch.no_grad()
def _copy(to: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    for name, value in to.items():
        if name in source:
            value.copy_(source[name])
