"""Frozen batch norm in place."""

from typing import Any

import torch
from torch import Tensor

from det_core.ops.layers import scale_and_shift

__all__ = ["scale_and_shift_in_place"]


def scale_and_shift_in_place(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """`scale_and_shift` in place: a third of the time, as no memory is allocated.

    `x` must have no other use, such as the result of a convolution. Compilers do their own optimization.
    """
    if torch.compiler.is_compiling():
        return scale_and_shift(x, scale, shift)
    written: Tensor = _ScaleAndShift.apply(x, scale, shift)
    return written


class _ScaleAndShift(torch.autograd.Function):
    """x * scale + shift in place: autograd has no such operation with the rounding of `addcmul`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(scale)
        ctx.mark_dirty(x)
        return torch.addcmul(shift, x, scale, out=x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (scale,) = ctx.saved_tensors
        return gradient * scale, None, None
