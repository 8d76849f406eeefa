"""Detections of overlapping tiles as those of one image."""

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import combinations
from typing import Any, NamedTuple

import torch
from det_core.ops import rotated
from det_core.ops.boxes import area, iou
from det_core.ops.masks import paste_masks
from det_core.structures import Detections, MaskGrids, Size
from torch import Tensor

__all__ = ["Tile", "bounds", "merge"]

_SAME_IOU = 0.5
"""Two boxes, as far as both tiles show them, are of one object from this IoU."""
_COVERED = 0.7
"""A part at the edge of a tile is left out if another tile's object covers this share of it."""
_EDGE = 2.0
"""How near, in pixels, a box is to the edge of its tile to be a part."""
_FINEST = 512


class Tile(NamedTuple):
    """Detections of a tile, in the pixels of the image, and where the tile lies: left, top, right, bottom."""

    window: tuple[int, int, int, int]
    detections: Detections


def merge(tiles: Sequence[Tile], size: Size) -> Detections:
    """The objects of an image of `size`, by falling score.

    Boxes of two tiles are of one object if they have the same class and, within the overlap of the tiles, an IoU of at
    least 0.5; a box has at most one match per tile. Of these the highest score that no inner edge of a tile
    cuts is kept; where all are cut, their boxes and masks are united (of rotated boxes the largest is kept).
    """
    objects = _joined([tile.detections for tile in tiles])
    if not len(objects):
        return objects
    boxes = bounds(objects.boxes)
    owners = torch.cat([torch.full((len(tile.detections),), number) for number, tile in enumerate(tiles)])
    cut = torch.cat([_is_cut(tile, size) for tile in tiles])
    groups = _groups(tiles, boxes, objects.labels, owners)
    best: list[int] = []
    united: dict[int, list[int]] = {}
    for members in groups:
        whole = [row for row in members if not cut[row]]
        if not whole and len(members) > 1:
            if objects.boxes.shape[1] == 4:
                united[max(members, key=lambda row: float(objects.scores[row]))] = members
            else:
                best.append(max(members, key=lambda row: float(area(boxes[row : row + 1]))))
        else:
            best.append(max(whole or members, key=lambda row: float(objects.scores[row])))
    objects = _united(objects, united)
    boxes = bounds(objects.boxes)
    rows = [row for row in best if not cut[row]]
    certain = torch.tensor([*rows, *united], dtype=torch.int64)
    for row in best:
        if row not in rows and not _is_covered(row, certain, boxes, objects.labels, owners):
            rows.append(row)
    selected = torch.tensor([*rows, *united], dtype=torch.int64)
    return objects[selected[objects.scores[selected].argsort(descending=True, stable=True)]]


def bounds(boxes: Tensor) -> Tensor:
    """Upright boxes (N, 4) around boxes (N, 4) or rotated ones (N, 5)."""
    if boxes.shape[1] == 4:
        return boxes
    corners = rotated.corners(boxes).reshape(-1, 4, 2)
    return torch.cat((corners.amin(1), corners.amax(1)), dim=1)


def _joined(parts: Sequence[Detections]) -> Detections:
    """The objects of all parts, one after the other."""
    joined: dict[str, Any] = {}
    for field in fields(Detections):
        values = [getattr(part, field.name) for part in parts]
        if isinstance(values[0], MaskGrids):
            grids = tuple(grid for each in values for grid in each.grids)
            joined[field.name] = MaskGrids(grids=grids, windows=torch.cat([each.windows for each in values]))
        elif isinstance(values[0], Tensor):
            joined[field.name] = torch.cat(values)
        elif isinstance(values[0], dict):
            joined[field.name] = {key: torch.cat([each[key] for each in values]) for key in values[0]}
    return replace(parts[0], **joined)


def _is_cut(tile: Tile, size: Size) -> Tensor:
    """Bool (N,): the box reaches an edge of the tile that is no edge of the image."""
    boxes, (left, top, right, bottom) = bounds(tile.detections.boxes), tile.window
    height, width = size
    cut = torch.zeros(len(boxes), dtype=torch.bool)
    for inner, near in (
        (left > 0, boxes[:, 0] - left < _EDGE),
        (top > 0, boxes[:, 1] - top < _EDGE),
        (right < width, right - boxes[:, 2] < _EDGE),
        (bottom < height, bottom - boxes[:, 3] < _EDGE),
    ):
        cut |= near & inner
    return cut


def _groups(tiles: Sequence[Tile], boxes: Tensor, labels: Tensor, owners: Tensor) -> list[list[int]]:
    """The rows of each object."""
    parents = list(range(len(boxes)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = row = parents[parents[row]]
        return row

    rows_of = [torch.nonzero(owners == number)[:, 0] for number in range(len(tiles))]
    for (a, one), (b, other) in combinations(enumerate(tiles), 2):
        shared = _intersection(one.window, other.window)
        if shared is None or not len(rows_of[a]) or not len(rows_of[b]):
            continue
        first, second = (_clipped(boxes[rows], shared) for rows in (rows_of[a], rows_of[b]))
        overlaps = iou(first, second)
        overlaps[labels[rows_of[a]][:, None] != labels[rows_of[b]]] = 0
        while overlaps.numel() and float(overlaps.max()) >= _SAME_IOU:
            i, j = divmod(int(overlaps.argmax()), overlaps.shape[1])
            parents[root(int(rows_of[a][i]))] = root(int(rows_of[b][j]))
            overlaps[i], overlaps[:, j] = 0, 0
    groups: dict[int, list[int]] = {}
    for row in range(len(boxes)):
        groups.setdefault(root(row), []).append(row)
    return list(groups.values())


def _intersection(a: Sequence[int], b: Sequence[int]) -> tuple[int, int, int, int] | None:
    left, top, right, bottom = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (left, top, right, bottom) if left < right and top < bottom else None


def _clipped(boxes: Tensor, window: Sequence[int]) -> Tensor:
    """The detections within the window; boxes outside of it become empty."""
    left, top, right, bottom = window
    xs, ys = boxes[:, 0::2].clamp(left, right), boxes[:, 1::2].clamp(top, bottom)
    return torch.stack((xs[:, 0], ys[:, 0], xs[:, 1], ys[:, 1]), dim=1)


def _united(objects: Detections, groups: dict[int, list[int]]) -> Detections:
    """The detections with the box and mask of each first row enlarged to those of its group."""
    boxes = objects.boxes.clone()
    grids, windows = [], None
    if isinstance(objects.masks, MaskGrids):
        grids, windows = list(objects.masks.grids), objects.masks.windows.clone()
    for row, members in groups.items():
        parts = objects.boxes[members]
        boxes[row] = torch.cat((parts[:, :2].amin(0), parts[:, 2:].amax(0)))
        if windows is not None and isinstance(objects.masks, MaskGrids):
            grids[row] = _union_of_masks(objects.masks[torch.tensor(members)], boxes[row])
            windows[row] = boxes[row]
    masks = objects.masks if windows is None else MaskGrids(grids=tuple(grids), windows=windows)
    return replace(objects, boxes=boxes, masks=masks)


def _union_of_masks(masks: MaskGrids, box: Tensor) -> Tensor:
    """Float32 (S, S) within the box, one where any of the masks is; a cell is a pixel of boxes up to 512 pixels."""
    sides = (box[2:] - box[:2]).clamp(min=1)
    side = min(int(sides.max().ceil()), _FINEST)
    scale = side / sides
    windows = (masks.windows - box[:2].repeat(2)) * scale.repeat(2)
    pasted = paste_masks(MaskGrids(grids=masks.grids, windows=windows), windows, (side, side))
    return pasted.any(dim=0).float()


def _is_covered(row: int, others: Tensor, boxes: Tensor, labels: Tensor, owners: Tensor) -> bool:
    """Whether an object of another tile and the same class covers most of the box."""
    others = others[(labels[others] == labels[row]) & (owners[others] != owners[row])]
    inside = area(_clipped(boxes[others], boxes[row].tolist()))
    return bool((inside >= _COVERED * area(boxes[row : row + 1])).any())
