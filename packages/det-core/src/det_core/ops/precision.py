"""The precision that geometry is computed in: float32 where less is given, float64 where that is."""

import torch
from torch import Tensor

__all__ = ["precise"]


def precise(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors as float64 if one of them is, else as float32."""
    dtype = torch.float64 if any(each.dtype == torch.float64 for each in tensors) else torch.float32
    return tuple(each.to(dtype) for each in tensors)
