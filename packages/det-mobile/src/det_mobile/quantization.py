"""Training with the rounding of int8 (Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", 2018).

Inputs of convolutions and linear layers are rounded to 256 steps between the ends of its range, and weights to 255
steps per output channel, as the int8 files of det-export have them; gradients pass through. A batch norm behind a
convolution is folded into its weights before they are rounded, as an exported file has it. No layer is replaced or
renamed: a checkpoint is that of a float model.
"""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import torch
from det_core.errors import ConfigError
from det_core.models.cpu_acceleration import accelerate
from det_core.ops.layers import FrozenBatchNorm2d
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

if TYPE_CHECKING:
    from det_core.data import Batch
    from det_core.engine.callbacks.base import Training

__all__ = ["FakeQuantization", "QuantizationAware"]

_NORMS = (_BatchNorm, FrozenBatchNorm2d)
_SMALLEST = 2.0**-12
"""Smallest scale, as of the files."""


class FakeQuantization:
    """Rounds what layers of a model compute with, from `attach` to `detach`.

    Args:
        model: model whose layers are quantized while attached.
        keep_float: patterns (`*`, `?`, `[]`) of the names of modules that stay in float with their submodules.

    Attributes:
        observing: whether ranges follow the inputs in training mode; "always" for any mode.
        rounding: whether inputs and weights are rounded.
        ranges: layer -> smallest and largest input, float32 (2,).

    Raises:
        ConfigError: a name matches nothing, or no layer is left.
    """

    def __init__(self, model: nn.Module, keep_float: Sequence[str] = ()) -> None:
        layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
        for pattern in keep_float:
            if not any(_within(name, pattern) for name in layers):
                fix = f"such as {', '.join(list(layers)[:3])}"
                raise ConfigError("keep_float", "matches no convolution or linear layer", pattern, fix)
        self.layers = {n: m for n, m in layers.items() if not any(_within(n, pattern) for pattern in keep_float)}
        if not self.layers:
            raise ConfigError("keep_float", "leaves no layer to quantize", fix="give fewer names")
        self.norms = dict(_norms_behind(model))
        self.observing: bool | str = True
        self.rounding = True
        self.ranges: dict[str, Tensor] = {}

    def attach(self) -> None:
        """Start to observe and round; `detach` ends it."""
        for name, layer in self.layers.items():
            if isinstance(layer, nn.Conv2d):
                layer._conv_forward = self._convolution(name, layer)  # type: ignore[method-assign]
            else:
                layer.forward = self._linear(name, layer)  # type: ignore[method-assign]

    def detach(self) -> None:
        """Restore the layers."""
        for layer in self.layers.values():
            vars(layer).pop("_conv_forward", None)
            vars(layer).pop("forward", None)

    def _convolution(self, name: str, layer: nn.Conv2d) -> Any:
        plain = type(layer)._conv_forward

        def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            return plain(layer, self._entering(name, layer, x), self._weight(layer, weight), bias)

        return forward

    def _linear(self, name: str, layer: Any) -> Any:
        def forward(x: Tensor) -> Tensor:
            return F.linear(self._entering(name, layer, x), self._weight(layer, layer.weight), layer.bias)

        return forward

    def _entering(self, name: str, layer: nn.Module, x: Tensor) -> Tensor:
        if x.numel() and (self.observing == "always" or (self.observing and layer.training)):
            self._observe(name, x.detach())
        if not self.rounding or name not in self.ranges:
            return x
        low, high = self.ranges[name].unbind()
        scale = ((high - low) / 255).clamp(min=_SMALLEST)
        zero = (-low / scale).round().clamp(0, 255).to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(x.float(), scale, zero, 0, 255)

    def _observe(self, name: str, x: Tensor) -> None:
        ends = torch.stack([x.amin().clamp(max=0.0), x.amax().clamp(min=0.0)]).float()
        before = self.ranges.get(name)
        if before is None:
            self.ranges[name] = ends
        elif self.observing == "always":
            self.ranges[name] = torch.stack([torch.minimum(before[0], ends[0]), torch.maximum(before[1], ends[1])])
        else:
            self.ranges[name] = before.to(ends.device).lerp(ends, 0.05)

    def _weight(self, layer: nn.Module, weight: Tensor) -> Tensor:
        if not self.rounding:
            return weight
        factor: Tensor | None = None
        shape = (-1, *(1,) * (weight.ndim - 1))
        if (norm := self.norms.get(layer)) is not None:
            with torch.no_grad():
                factor = (norm.running_var + norm.eps).rsqrt()
                factor = factor if norm.weight is None else factor * norm.weight
                factor = torch.where(factor.abs() < 1e-8, 1.0, factor).reshape(shape)
        folded = weight.float() if factor is None else weight.float() * factor
        scale = (folded.detach().flatten(1).abs().amax(1) / 127).clamp(min=_SMALLEST)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        rounded = torch.fake_quantize_per_channel_affine(folded, scale, zero, 0, -127, 127)
        return rounded if factor is None else rounded / factor


def _within(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def _norms_behind(model: nn.Module) -> Iterator[tuple[nn.Module, Any]]:
    """Convolutions, each with the batch norm behind it: an attribute of it, or the next of its siblings."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and isinstance(getattr(module, "norm", None), _NORMS):
            yield module, module.norm
        before: nn.Module | None = None
        for child in module.children():
            if isinstance(before, nn.Conv2d) and isinstance(child, _NORMS):
                yield before, child
            before = child


class QuantizationAware:
    """Training callback for quantization-aware training: from a given step on, int8 rounding is simulated.

    Evaluations during training round as well. Ranges are part of the state of a run, so that it can be resumed exactly.

    Args:
        start: first step with rounding; ranges are observed from step 0.
        freeze_ranges: step from which ranges are fixed; None: never.
        freeze_norms: step from which batch norms use their running statistics; None: never.
        keep_float: names of modules that stay in float.
    """

    def __init__(
        self,
        start: int = 0,
        freeze_ranges: int | None = None,
        freeze_norms: int | None = None,
        keep_float: Sequence[str] = (),
    ) -> None:
        steps = [each for each in (start, freeze_ranges, freeze_norms) if each is not None]
        if min(steps) < 0:
            raise ConfigError("QuantizationAware", "needs steps of at least 0", f"got {', '.join(map(str, steps))}")
        self.start, self.freeze_ranges, self.freeze_norms = start, freeze_ranges, freeze_norms
        self.keep_float = tuple(keep_float)
        self._rounding: FakeQuantization | None = None
        self._waiting: Mapping[str, Tensor] = {}

    def on_start(self, trainer: "Training") -> None:
        """Attach to the layers, with the ranges of a resumed run."""
        accelerate(trainer.model, on=False)  # faster ways pass by the layers
        self._rounding = FakeQuantization(trainer.model, self.keep_float)
        self._rounding.ranges = {name: each.to(trainer.device) for name, each in self._waiting.items()}
        self._at(trainer)
        self._rounding.attach()

    def before_step(self, trainer: "Training", batches: Sequence["Batch"]) -> None:
        """Switch observation, rounding and norms by the schedule."""
        self._at(trainer)

    def on_end(self, trainer: "Training") -> None:
        """Restore the layers."""
        if self._rounding is not None:
            self._rounding.detach()

    def state_dict(self) -> dict[str, Any]:
        """The ranges."""
        return {"ranges": {} if self._rounding is None else dict(self._rounding.ranges)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Keep them for `on_start`."""
        self._waiting = dict(state["ranges"])

    def _at(self, trainer: "Training") -> None:
        if self._rounding is None:
            return
        self._rounding.rounding = trainer.step >= self.start
        self._rounding.observing = self.freeze_ranges is None or trainer.step < self.freeze_ranges
        if self.freeze_norms is not None and trainer.step >= self.freeze_norms:
            for module in trainer.model.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
