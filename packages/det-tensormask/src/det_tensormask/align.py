"""From aligned to natural masks (Chen et al., "TensorMask", 2019, section 3), in pure torch and with its gradient."""

import torch
from det_core.errors import StructureError
from torch import Tensor
from torch.nn import functional as F

__all__ = ["OUTSIDE", "swap_align2nat"]

OUTSIDE = -6.0
"""The logit beyond the borders: hardly any mask."""


def swap_align2nat(masks: Tensor, factor: int = 1, outside: float = OUTSIDE) -> Tensor:
    """Turn masks that are aligned with pixels into one window per place; where `factor` > 1, of a coarser level.

    In the aligned form the channels of a pixel are what all windows around it say of this pixel: pixel (y, x), as part
    (v, u) of its window. In the natural form the channels of a place are the V x U parts of its own window. A coarser
    level has its places `factor` pixels apart, and windows that are `factor` times as long in pixels; parts between
    those that are given are interpolated, and so are pixels where a window's middle lies between two. With
    y' = y factor + v - V factor / 2 + 1/2 and v' = (v + 1/2) / factor - 1/2, and alike in the other direction,
    natural[v, u, y, x] = aligned[v', u', y', x'].

    Both directions are independent, so that one is swapped after the other. Each is a few copies of numbers into
    another order and a sum of two of them: the memory is a small multiple of what goes in.

    Args:
        masks: float (B, V * V, H, W), aligned.
        factor: strides of the coarser level over that of `masks`.
        outside: what stands beyond the borders of all four directions.

    Returns:
        (B, (V factor) ** 2, ceil(H / factor), ceil(W / factor)), natural.
    """
    side = round(masks.shape[1] ** 0.5) if masks.ndim == 4 else 0
    if side < 1 or side**2 != masks.shape[1]:
        found = f"got {tuple(masks.shape)}"
        raise StructureError("swap_align2nat", "masks must have shape (B, V * V, H, W)", found)
    if factor < 1:
        raise StructureError("swap_align2nat", "factor must be at least 1", f"got {factor}")
    windows = masks.unflatten(1, (side, side))
    windows = _swap(windows.permute(0, 1, 3, 2, 4), factor, outside)  # B, V, H, U, W
    windows = _swap(windows.permute(0, 3, 4, 1, 2), factor, outside)  # B, U, W, V, H
    return windows.permute(0, 3, 1, 4, 2).flatten(1, 2)


def _swap(masks: Tensor, factor: int, outside: float) -> Tensor:
    """The same in one direction: (B, V, H, ., .) to (B, V factor, ceil(H / factor), ., .)."""
    parts, length = masks.shape[1:3]
    places = -(-length // factor)
    steps = places + parts - 1
    before, between = (parts * factor - 1) // 2, parts * factor % 2 == 0
    # Pixel i of what follows is i - before; one row more than is used lets the rows be sheared by a view.
    pixels = (before + between, steps * factor - before - length)
    masks = F.pad(masks, (0, 0, 0, 0, *pixels, factor > 1, 1 + (factor > 1)), value=outside)
    if between:
        masks = (masks[:, :, 1:] + masks[:, :, :-1]) / 2
    masks = masks.unflatten(2, (steps, factor))
    if factor > 1:
        masks = _between_parts(masks, factor)
    # Part v = a factor + p of place y is pixel (y + a) factor + p of part a: each row begins one step later.
    masks = masks.flatten(1, 2)[:, : parts * (steps + 1)].unflatten(1, (parts, steps + 1))[:, :, :places]
    return masks.transpose(2, 3).flatten(1, 2)


def _between_parts(masks: Tensor, factor: int) -> Tensor:
    """The parts (B, A + 2, steps, factor, ., .), each phase of a step at its own place between two: (B, A, ...)."""
    phases = torch.arange(factor, device=masks.device, dtype=masks.dtype)
    share = ((phases + 0.5) / factor - 0.5).abs()[:, None, None]
    half = (factor + 1) // 2
    neighbour = torch.cat((masks[:, :-2, :, :half], masks[:, 2:, :, half:]), dim=3)
    return torch.lerp(masks[:, 1:-1], neighbour, share)
