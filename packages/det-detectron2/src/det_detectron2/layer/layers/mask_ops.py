"""Masks of boxes pasted into images, as `detectron2.layers.mask_ops`."""

import torch
from det_core.ops.masks import paste_masks
from torch import Tensor
from torch.nn import functional as F

__all__ = ["paste_masks_in_image"]


def paste_masks_in_image(masks: Tensor, boxes: object, image_shape: tuple[int, int], threshold: float = 0.5) -> Tensor:
    """Spread each mask over its box in an image.

    Args:
        masks: (N, M, M), values in [0, 1].
        boxes: `Boxes`, or (N, 4).
        image_shape: (height, width).
        threshold: in [0, 1]: what reaches it is in; negative for values instead, to draw.

    Returns:
        bool (N, height, width); uint8, 0 to 255, where `threshold` is negative.
    """
    assert masks.shape[-1] == masks.shape[-2], "Only square mask predictions are supported"
    places = boxes if isinstance(boxes, Tensor) else boxes.tensor  # type: ignore[attr-defined]
    assert len(places) == len(masks), places.shape
    if len(masks) == 0:
        return masks.new_empty((0, *image_shape), dtype=torch.uint8 if threshold < 0 else torch.bool)
    if threshold >= 0:
        return paste_masks(masks.float(), places.float(), image_shape, threshold)
    return (_values(masks.float(), places.float(), image_shape) * 255).to(torch.uint8)


def _values(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Each mask sampled at the middles of all pixels, float32 (N, height, width)."""
    x0, y0, x1, y1 = boxes[:, :, None].unbind(dim=1)
    rows = torch.arange(size[0], device=boxes.device, dtype=boxes.dtype) + 0.5
    columns = torch.arange(size[1], device=boxes.device, dtype=boxes.dtype) + 0.5
    y, x = (rows - y0) / (y1 - y0) * 2 - 1, (columns - x0) / (x1 - x0) * 2 - 1
    grid = torch.stack((x[:, None, :].expand(-1, size[0], -1), y[:, :, None].expand(-1, -1, size[1])), dim=3)
    return F.grid_sample(masks[:, None], grid, align_corners=False)[:, 0]
