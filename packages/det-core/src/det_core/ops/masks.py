"""Masks: crops of polygons and bitmaps to a region, pasting into the image, bounding boxes."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor
from torch.nn import functional as F

from det_core.ops.rle import rle_counts, rle_to_mask
from det_core.structures import MaskGrids, Polygons, Size

__all__ = ["MasksInImage", "crop_masks", "in_image", "paste_masks", "rasterize", "tight_boxes"]

_CHUNK = 2**26
"""Maximum number of elements at once where bool masks become floats, and where many masks are pasted."""


def rasterize(polygons: Polygons, size: Size) -> Tensor:
    """Polygons rendered in an image of `size`, with COCO's rasterization: bool (N, height, width)."""
    masks = torch.zeros((len(polygons), *size), dtype=torch.bool)
    for mask, rings in zip(masks, polygons, strict=True):
        mask.copy_(_render(rings, size))
    return masks


def crop_masks(masks: Tensor | Polygons, boxes: Tensor, side: int) -> Tensor:
    """Crop of each mask to its box, on a grid of `side` by `side`.

    Polygons are translated and scaled to the box and rendered as in COCO; bitmaps are sampled by ROIAlign and
    thresholded at one half.

    Args:
        masks: bitmaps, bool (N, H, W), or polygons of N objects.
        boxes: boxes of the crops, xyxy in pixels, float32 (N, 4).
        side: height and width of the output, in cells.

    Returns:
        bool (N, side, side), on the boxes' device.
    """
    if isinstance(masks, Polygons):
        return _draw_in_boxes(masks, boxes, side)
    cropped = [boxes.new_zeros((0, side, side), dtype=torch.bool)]
    step = max(1, _CHUNK // max(1, masks.shape[1] * masks.shape[2]))
    for some, box_chunk in zip(masks.split(step), boxes.float().split(step), strict=True):
        if len(box_chunk):
            rois = torch.cat((torch.arange(len(box_chunk), device=box_chunk.device)[:, None], box_chunk), dim=1)
            cropped.append(torchvision.ops.roi_align(some[:, None].float(), rois, side, aligned=True)[:, 0] >= 0.5)
    return torch.cat(cropped)


def _draw_in_boxes(polygons: Polygons, boxes: Tensor, side: int) -> Tensor:
    corners = boxes.detach().to("cpu", torch.float64).numpy()
    masks = torch.zeros((len(corners), side, side), dtype=torch.bool)
    for mask, rings, (x0, y0, x1, y1) in zip(masks, polygons, corners, strict=True):
        scale = side / np.maximum([x1 - x0, y1 - y0], 0.1)  # bounded for boxes of zero width
        mask.copy_(_render([(ring - (x0, y0)) * scale for ring in rings], (side, side)))
    return masks.to(boxes.device)


def _render(rings: list[NDArray[np.float64]], size: Size) -> Tensor:
    if not rings:
        return torch.zeros(size, dtype=torch.bool)
    merged = coco_mask.merge(coco_mask.frPyObjects([ring.ravel().tolist() for ring in rings], *size))
    return rle_to_mask(rle_counts(merged, size), size)


def paste_masks(masks: Tensor | MaskGrids, boxes: Tensor, size: Size, threshold: float = 0.5) -> Tensor:
    """Paste each mask into its box in an image of `size`; values of at least `threshold` are in the mask.

    Values are interpolated between cell centres, and fall to 0 beyond the outermost centres. Bool masks are at image
    size already, and returned unchanged.

    Args:
        masks: float (N, S, S), probabilities within the boxes; or grids with their own windows.
        boxes: boxes of the masks, xyxy in pixels, float32 (N, 4).
        size: (height, width) of the image in pixels.
        threshold: minimum probability, in (0, 1].

    Returns:
        bool (N, height, width).
    """
    if isinstance(masks, Tensor) and masks.dtype == torch.bool:
        return masks
    grids, boxes = (masks.grids, masks.windows) if isinstance(masks, MaskGrids) else (masks, boxes)
    pasted = torch.zeros((len(masks), *size), dtype=torch.bool, device=boxes.device)
    for full, grid, box in zip(pasted, grids, boxes.tolist(), strict=True):
        mask = grid.float()
        # Only the pixels around the box can be set.
        left, right = _pixels(box[0], box[2], size[1])
        top, bottom = _pixels(box[1], box[3], size[0])
        if left < right and top < bottom and box[0] < box[2] and box[1] < box[3]:
            x = _within(left, right, box[0], box[2], mask)
            y = _within(top, bottom, box[1], box[3], mask)
            grid = torch.stack((x.expand(len(y), -1), y[:, None].expand(-1, len(x))), dim=-1)
            spread = F.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0]
            full[top:bottom, left:right] = spread >= threshold
    return pasted


def in_image(masks: Tensor | Polygons | MaskGrids, boxes: Tensor, size: Size) -> Iterator[Tensor]:
    """Masks of any format at image size, bool (n, height, width), a few at a time.

    All masks of a crowded, large image would need gigabytes.
    """
    step = max(1, _CHUNK // max(1, size[0] * size[1]))
    for first in range(0, len(masks), step):
        some, chunk_boxes = masks[first : first + step], boxes[first : first + step]
        yield rasterize(some, size) if isinstance(some, Polygons) else paste_masks(some, chunk_boxes, size)


class MasksInImage(Sequence[Tensor]):
    """Masks of the objects at image size; each is rendered on access, and not kept.

    `masks[i]` is bool (height, width), `masks[2:5]` a subset, and `masks.stacked()` all at once.

    Args:
        masks: probabilities within the boxes, float (N, S, S), or grids.
        boxes: boxes of the masks, xyxy in pixels, float32 (N, 4).
        size: (height, width) of the image in pixels.
    """

    def __init__(self, masks: Tensor | MaskGrids, boxes: Tensor, size: Size) -> None:
        self._masks, self._boxes, self.size = masks, boxes, size

    def __len__(self) -> int:
        return len(self._masks)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> "MasksInImage": ...

    def __getitem__(self, index: int | slice) -> "Tensor | MasksInImage":
        if isinstance(index, slice):
            return MasksInImage(self._masks[index], self._boxes[index], self.size)
        row = range(len(self))[index]
        return paste_masks(self._masks[row : row + 1], self._boxes[row : row + 1], self.size)[0]

    def stacked(self) -> Tensor:
        """Bool (N, height, width): a byte for each pixel of the image and each object."""
        return paste_masks(self._masks, self._boxes, self.size)


def tight_boxes(masks: Tensor | Polygons, boxes: Tensor, size: Size) -> Tensor:
    """Bounding box of the visible part of each mask in an image of `size`.

    Args:
        masks: bool (N, *size), or polygons of N objects, which may extend beyond the image.
        boxes: float32 (N, 4), kept for objects without polygons.
        size: (height, width) of the image in pixels.

    Returns:
        float32 (N, 4); zeros for invisible masks.
    """
    if isinstance(masks, Polygons):
        tight = boxes.clone()
        for row, rings in enumerate(masks):
            if rings:
                points = np.concatenate([_outermost(ring, size) for ring in rings])
                ends = np.concatenate((points.min(0), points.max(0))) if len(points) else np.zeros(4)
                tight[row] = torch.from_numpy(ends)
        return tight
    left, right = _ends(masks.any(1))
    top, bottom = _ends(masks.any(2))
    return torch.stack((left, top, right, bottom), 1).to(boxes)


def _ends(is_set: Tensor) -> tuple[Tensor, Tensor]:
    """First index of each row of bool (N, L) that is True, and last index plus one; zeros without any."""
    places = torch.arange(is_set.shape[1], device=is_set.device)
    last = torch.where(is_set, places + 1, 0).amax(1)
    first = torch.where(is_set, places, is_set.shape[1]).amin(1)
    return first.minimum(last), last


def _outermost(ring: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
    """Points (M, 2) with the bounding box of the visible part of a ring: none if nothing is visible.

    They are the ends of the visible part of each edge, and the corners of the image inside of the ring.
    """
    limits = np.array([size[1], size[0]], np.float64)
    if len(ring) and (ring >= 0).all() and (ring <= limits).all():
        return ring
    step = np.roll(ring, -1, 0) - ring
    # Edges along a border, or touching it, are invisible: hence < and not <=.
    within = np.where((ring > 0) & (ring < limits), np.inf, -np.inf)
    # Where along the edge, from 0 to 1, the stripe between two borders of the image begins and ends.
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = np.stack((-ring / step, (limits - ring) / step))
    begin = np.where(step == 0, -within, crossings.min(0)).max(1).clip(min=0)
    end = np.where(step == 0, within, crossings.max(0)).min(1).clip(max=1)
    visible = begin < end
    ends = [(ring + at[:, None] * step)[visible].clip(0, limits) for at in (np.where(visible, begin, 0), end.clip(0))]
    corners = np.array([[0, 0], [limits[0], 0], limits, [0, limits[1]]])
    return np.concatenate([*ends, corners[[_inside(ring, step, corner) for corner in corners]]])


def _inside(ring: NDArray[np.float64], step: NDArray[np.float64], point: NDArray[np.float64]) -> bool:
    """Whether a ray to the right of `point` leaves the ring more often than it enters it."""
    crosses = (ring[:, 1] > point[1]) != (ring[:, 1] + step[:, 1] > point[1])
    at = ring[crosses, 0] + (point[1] - ring[crosses, 1]) * step[crosses, 0] / step[crosses, 1]
    return bool((at > point[0]).sum() % 2)


def _pixels(start: float, end: float, length: int) -> tuple[int, int]:
    """First pixel, and last pixel plus one, that a mask from `start` to `end` can touch."""
    return max(int(np.floor(start)) - 1, 0), min(int(np.ceil(end)) + 1, length)


def _within(first: int, last: int, start: float, end: float, like: Tensor) -> Tensor:
    """Positions of the centres of pixels `first` to `last` between `start` (-1) and `end` (1)."""
    centers = torch.arange(first, last, device=like.device, dtype=torch.float32) + 0.5
    return (centers - start) / (end - start) * 2 - 1
