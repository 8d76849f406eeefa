"""Masks of boxes pasted into images, as `detectron2.layers.mask_ops`."""

import numpy as np
import torch
from det_core.ops.masks import paste_masks
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

__all__ = ["pad_masks", "paste_mask_in_image_old", "paste_masks_in_image", "scale_boxes"]


def paste_masks_in_image(masks: Tensor, boxes: object, image_shape: tuple[int, int], threshold: float = 0.5) -> Tensor:
    """Paste each mask into its box in an image.

    Args:
        masks: (N, M, M), values in [0, 1].
        boxes: `Boxes`, or a tensor (N, 4), xyxy in pixels.
        image_shape: (height, width).
        threshold: mask threshold in [0, 1]; a negative value returns the soft mask, uint8 in [0, 255].

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


def pad_masks(masks: Tensor, padding: int) -> tuple[Tensor, float]:
    """Masks (N, M, M) with a frame of zeros, (N, M', M'), and M' / M."""
    side = masks.shape[-1]
    return F.pad(masks, (padding,) * 4), float(side + 2 * padding) / side


def scale_boxes(boxes: Tensor, scale: float) -> Tensor:
    """Boxes (N, 4) grown around their middles."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * scale
    return torch.cat((middle - half, middle + half), dim=1)


def paste_mask_in_image_old(mask: Tensor, box: Tensor, img_h: int, img_w: int, threshold: float) -> Tensor:
    """A mask (M, M) over a box in an image (img_h, img_w), as before version 0.1: whole pixels, ends included."""
    x0, y0, x1, y1 = (int(each) for each in box.to(dtype=torch.int32))
    width, height = x1 - x0 + 1, y1 - y0 + 1
    resized = Image.fromarray(mask.cpu().numpy()).resize((width, height), resample=Image.Resampling.BILINEAR)
    values: NDArray[np.bool_] = np.asarray(resized)
    inside = values > threshold if threshold >= 0 else (values * 255).astype(np.uint8)
    image = torch.zeros((img_h, img_w), dtype=torch.uint8)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1 + 1, img_w), min(y1 + 1, img_h)
    part = np.ascontiguousarray(inside[top - y0 : bottom - y0, left - x0 : right - x0]).astype(np.uint8)
    image[top:bottom, left:right] = torch.from_numpy(part)
    return image
