"""The precisions of a file: fp32, bf16 (weights and arithmetic of the layers), int8 (see `det_export.quantize`)."""

from collections.abc import Callable
from typing import Any

import torch
from det_core.predict.optimize import fold_norms
from torch import Tensor, nn

__all__ = ["PRECISIONS", "at_precision"]

PRECISIONS = ("fp32", "bf16", "int8")

_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def at_precision(model: nn.Module, precision: str) -> nn.Module:
    """Bring a model to a precision before it is traced, in place; returns it.

    "bf16": convolutions and linear layers hold bfloat16, take and return float32. What lies between them (norms, box
    decoding, suppression) stays in float32. "int8": batch norms are folded into the convolutions before them, so that
    what is quantized is what is computed. "fp32": nothing.
    """
    if precision == "int8":
        fold_norms(model)
    if precision == "bf16":
        for module in model.modules():
            if isinstance(module, _LAYERS):
                _to_bf16(module)
    return model


def _to_bf16(layer: Any) -> None:
    layer.to(torch.bfloat16)
    # Our own convolutions go on after theirs, with a norm that stays in float32.
    name = "_conv_forward" if isinstance(layer, nn.Conv2d) else "forward"
    setattr(layer, name, _between(getattr(layer, name)))
    norm = getattr(layer, "norm", None)
    if isinstance(norm, nn.Module):
        norm.float()


def _between(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The computation of a layer, with its first argument and its result converted."""

    def computed(x: Tensor, *others: Any) -> Tensor:
        return compute(x.to(torch.bfloat16), *others).float()

    return computed
