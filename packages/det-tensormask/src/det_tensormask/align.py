"""Aligned to natural masks (Chen et al., "TensorMask", 2019, section 3), in pure torch and differentiable."""

import torch
from det_core.errors import StructureError
from torch import Tensor
from torch.nn import functional as F

__all__ = ["OUTSIDE", "swap_align2nat"]

OUTSIDE = -6.0
"""Logit outside of the feature map: a mask probability of almost 0."""


def swap_align2nat(masks: Tensor, factor: int = 1, outside: float = OUTSIDE) -> Tensor:
    """Turn pixel-aligned masks into one natural mask per window; with `factor` > 1, into those of a coarser level.

    In the aligned representation the channels of pixel (y, x) are the values that all windows around it have at this
    pixel, part (v, u) of each window. In the natural representation the channels of a position are the V x U parts of
    its own window. A coarser level has positions `factor` pixels apart, and windows `factor` times as long in pixels;
    parts between the given ones are interpolated, and so are pixels where the centre of a window lies between two.
    With y' = y factor + v - V factor / 2 + 1/2 and v' = (v + 1/2) / factor - 1/2, and likewise along the other axis,
    natural[v, u, y, x] = aligned[v', u', y', x'].

    The axes are independent and are swapped one after the other. Each swap copies values into another order and adds
    two of them: the memory is a small multiple of the input.

    Args:
        masks: aligned masks, float (B, V * V, H, W).
        factor: stride of the coarser level divided by the stride of `masks`.
        outside: value beyond the borders of all four axes.

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
    """Swap one axis: (B, V, H, ., .) to (B, V factor, ceil(H / factor), ., .)."""
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
    """Interpolate parts (B, A + 2, steps, factor, ., .), each phase of a step at its own offset: (B, A, ...)."""
    phases = torch.arange(factor, device=masks.device, dtype=masks.dtype)
    share = ((phases + 0.5) / factor - 0.5).abs()[:, None, None]
    half = (factor + 1) // 2
    neighbor = torch.cat((masks[:, :-2, :, :half], masks[:, 2:, :, half:]), dim=3)
    return torch.lerp(masks[:, 1:-1], neighbor, share)
