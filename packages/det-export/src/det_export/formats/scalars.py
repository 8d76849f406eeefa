"""Operations with a number that only a run knows, such as a width, that the ONNX exporter lacks or gets wrong."""

import operator
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["translations"]

_LARGEST = 2**63 - 1


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What `torch.onnx.export` takes as `custom_translation_table`: operators of aten to operators of ONNX."""
    from onnxscript import opset20 as op

    def number(other: Any, like: Any) -> Any:
        """A constant or a computed value, in the type of the tensor."""
        if isinstance(other, float):
            other = op.Constant(value_float=other)
        return op.CastLike(whole(other), like)

    def whole(value: Any) -> Any:
        """A whole number as a constant, or the computed value that it is."""
        return op.Constant(value_int=value) if isinstance(value, int) else value

    def mul(self: Any, other: Any) -> Any:
        return op.Mul(self, number(other, self))

    def add(self: Any, other: Any, alpha: float = 1) -> Any:
        return op.Add(self, op.Mul(number(other, self), number(alpha, self)))

    def sub(self: Any, other: Any, alpha: float = 1) -> Any:
        return op.Sub(self, op.Mul(number(other, self), number(alpha, self)))

    def remainder(self: Any, other: Any) -> Any:
        divisor = number(other, self)
        if self.dtype.is_floating_point():
            return op.Sub(self, op.Mul(op.Floor(op.Div(self, divisor)), divisor))
        return op.Mod(self, divisor)

    def floor_division(self: Any, other: Any) -> Any:
        """Of whole numbers, as in Python: ONNX rounds towards 0, which makes less of -(-n // d) than the ceiling."""
        value, divisor = whole(self), whole(other)
        return op.Div(op.Sub(value, op.Mod(value, divisor)), divisor)

    def at_most(self: Any, other: Any) -> Any:
        """A check of a size; the bound of a sum of sizes may be larger than int64 holds."""
        return op.LessOrEqual(self, min(other, _LARGEST) if isinstance(other, int) else other)

    aten = torch.ops.aten
    table: dict[Callable[..., Any], Callable[..., Any]] = {
        aten.mul.Scalar: mul,
        aten.add.Scalar: add,
        aten.sub.Scalar: sub,
        aten.remainder.Scalar: remainder,
        operator.le: at_most,
        operator.floordiv: floor_division,
    }
    return table
