"""Masks as bitmaps, polygons and grids in boxes, as `detectron2.structures.masks`."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from det_core.ops.masks import crop_masks, paste_masks
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from det_detectron2.layer.structures.boxes import Boxes

__all__ = [
    "BitMasks",
    "PolygonMasks",
    "ROIMasks",
    "polygon_area",
    "polygons_to_bitmask",
    "rasterize_polygons_within_box",
]


def polygon_area(x: NDArray[Any], y: NDArray[Any]) -> float:
    """The area of a ring, by the shoelace formula."""
    return 0.5 * float(np.abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))


def polygons_to_bitmask(polygons: Sequence[NDArray[Any]], height: int, width: int) -> NDArray[np.bool_]:
    """Bool (height, width): what is in any of the rings, each x0, y0, x1, y1, ...; by COCO's rules."""
    if len(polygons) == 0:
        return np.zeros((height, width), dtype=bool)
    rings = coco_mask.frPyObjects([np.asarray(ring).tolist() for ring in polygons], height, width)
    return coco_mask.decode(coco_mask.merge(rings)).astype(bool)


def rasterize_polygons_within_box(polygons: Sequence[NDArray[Any]], box: NDArray[Any], mask_size: int) -> Tensor:
    """Bool (mask_size, mask_size): the rings in a grid over a box (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = (float(each) for each in box)
    scale = np.array([mask_size / max(x1 - x0, 0.1), mask_size / max(y1 - y0, 0.1)])
    moved = [((np.asarray(ring, np.float64).reshape(-1, 2) - (x0, y0)) * scale).reshape(-1) for ring in polygons]
    return torch.from_numpy(polygons_to_bitmask(moved, mask_size, mask_size))


class BitMasks:
    """Masks of the size of the image.

    Attributes:
        tensor: bool (N, H, W).
    """

    def __init__(self, tensor: Any) -> None:
        values = tensor.to(torch.bool) if isinstance(tensor, Tensor) else torch.as_tensor(tensor, dtype=torch.bool)
        assert values.dim() == 3, values.size()
        self.image_size = values.shape[1:]
        self.tensor = values

    def to(self, *args: Any, **kwargs: Any) -> "BitMasks":
        """The masks on another device."""
        return BitMasks(self.tensor.to(*args, **kwargs))

    @property
    def device(self) -> torch.device:
        """Where the tensor is."""
        return self.tensor.device

    def __getitem__(self, item: Any) -> "BitMasks":
        if isinstance(item, int):
            return BitMasks(self.tensor[item].unsqueeze(0))
        selection = self.tensor[item]
        assert selection.dim() == 3, f"Indexing on BitMasks with {item} returns a tensor with shape {selection.shape}!"
        return BitMasks(selection)

    def __iter__(self) -> Iterator[Tensor]:
        yield from self.tensor

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_instances={len(self.tensor)})"

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def nonempty(self) -> Tensor:
        """Bool (N,): the mask has a pixel."""
        return self.tensor.flatten(1).any(dim=1)

    @staticmethod
    def from_polygon_masks(
        polygon_masks: "PolygonMasks | list[list[NDArray[Any]]]", height: int, width: int
    ) -> "BitMasks":
        """What polygons cover in an image of this size."""
        rings = polygon_masks.polygons if isinstance(polygon_masks, PolygonMasks) else polygon_masks
        bitmasks = [polygons_to_bitmask(each, height, width) for each in rings]
        return BitMasks(
            torch.from_numpy(np.stack(bitmasks)) if bitmasks else torch.empty(0, height, width, dtype=torch.bool)
        )

    def crop_and_resize(self, boxes: Tensor, mask_size: int) -> Tensor:
        """Bool (N, mask_size, mask_size): each mask within its box of `boxes` (N, 4)."""
        assert len(boxes) == len(self), f"{len(boxes)} != {len(self)}"
        return crop_masks(self.tensor, boxes, mask_size)

    def get_bounding_boxes(self) -> Boxes:
        """The box around each mask; (0, 0, 0, 0) of an empty one."""
        boxes = torch.zeros(len(self), 4, dtype=torch.float32)
        for place, mask in enumerate(self.tensor):
            xs, ys = (torch.nonzero(mask.any(dim=axis)).squeeze(1) for axis in (0, 1))
            if len(xs) and len(ys):
                boxes[place] = torch.tensor([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], dtype=torch.float32)
        return Boxes(boxes)

    @staticmethod
    def cat(bitmasks_list: "list[BitMasks]") -> "BitMasks":
        """All masks of several, in order."""
        assert bitmasks_list
        assert all(isinstance(each, BitMasks) for each in bitmasks_list)
        return type(bitmasks_list[0])(torch.cat([each.tensor for each in bitmasks_list], dim=0))


class PolygonMasks:
    """Masks as polygons, in pixels of the image.

    Attributes:
        polygons: the rings of each object, each float64 (2 k,), x0, y0, x1, y1, ..., k at least 3.
    """

    def __init__(self, polygons: list[list[Any]]) -> None:
        if not isinstance(polygons, list):
            raise ValueError(f"PolygonMasks takes a list of the polygons of each object, not {type(polygons).__name__}")
        self.polygons = [_rings(each) for each in polygons]

    def to(self, *args: Any, **kwargs: Any) -> "PolygonMasks":
        """Themselves: they are in host memory."""
        return self

    @property
    def device(self) -> torch.device:
        """Host memory."""
        return torch.device("cpu")

    def get_bounding_boxes(self) -> Boxes:
        """The box around each object."""
        boxes = torch.zeros(len(self.polygons), 4, dtype=torch.float32)
        for place, rings in enumerate(self.polygons):
            points = torch.from_numpy(np.concatenate(rings).reshape(-1, 2)) if rings else torch.zeros(1, 2)
            boxes[place] = torch.cat((points.amin(dim=0), points.amax(dim=0))).float()
        return Boxes(boxes)

    def nonempty(self) -> Tensor:
        """Bool (N,): the object has a ring."""
        return torch.tensor([len(rings) > 0 for rings in self.polygons], dtype=torch.bool)

    def __getitem__(self, item: Any) -> "PolygonMasks":
        if isinstance(item, int):
            return PolygonMasks([self.polygons[item]])
        if isinstance(item, slice):
            return PolygonMasks(self.polygons[item])
        if isinstance(item, list):
            return PolygonMasks([self.polygons[place] for place in item])
        if isinstance(item, Tensor):
            if item.dtype == torch.bool:
                assert item.dim() == 1, item.shape
                item = item.nonzero().squeeze(1)
            elif item.dtype not in (torch.int32, torch.int64):
                raise ValueError(f"Unsupported tensor dtype={item.dtype} for indexing!")
            return PolygonMasks([self.polygons[place] for place in item.cpu().tolist()])
        raise TypeError(f"Unsupported index {type(item)} of PolygonMasks")

    def __iter__(self) -> Iterator[list[NDArray[Any]]]:
        """The rings of each object."""
        return iter(self.polygons)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_instances={len(self.polygons)})"

    def __len__(self) -> int:
        return len(self.polygons)

    def crop_and_resize(self, boxes: Tensor, mask_size: int) -> Tensor:
        """Bool (N, mask_size, mask_size): each object within its box of `boxes` (N, 4)."""
        assert len(boxes) == len(self), f"{len(boxes)} != {len(self)}"
        bitmasks = [
            rasterize_polygons_within_box(rings, box.numpy(), mask_size)
            for rings, box in zip(self.polygons, boxes.cpu(), strict=True)
        ]
        return (
            torch.stack(bitmasks).to(boxes.device)
            if bitmasks
            else boxes.new_empty((0, mask_size, mask_size), dtype=torch.bool)
        )

    def area(self) -> Tensor:
        """(N,): the sum of the areas of each object's rings."""
        sums = [sum(polygon_area(ring[0::2], ring[1::2]) for ring in rings) for rings in self.polygons]
        return torch.tensor(sums)

    @staticmethod
    def cat(polymasks_list: "list[PolygonMasks]") -> "PolygonMasks":
        """All of several, in order."""
        assert polymasks_list
        assert all(isinstance(each, PolygonMasks) for each in polymasks_list)
        return type(polymasks_list[0])(list(itertools.chain.from_iterable(each.polygons for each in polymasks_list)))


class ROIMasks:
    """Masks as grids in the boxes of objects.

    Attributes:
        tensor: (N, M, M), probabilities or bools.
    """

    def __init__(self, tensor: Tensor) -> None:
        if tensor.dim() != 3:
            raise ValueError("ROIMasks must take a masks of 3 dimension.")
        self.tensor = tensor

    def to(self, device: torch.device | str) -> "ROIMasks":
        """The masks on another device."""
        return ROIMasks(self.tensor.to(device))

    @property
    def device(self) -> torch.device:
        """Where the tensor is."""
        return self.tensor.device

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __getitem__(self, item: Any) -> "ROIMasks":
        selection = self.tensor[item]
        if selection.dim() != 3:
            raise ValueError(f"Indexing on ROIMasks with {item} returns a tensor with shape {selection.shape}!")
        return ROIMasks(selection)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_instances={len(self.tensor)})"

    def to_bitmasks(self, boxes: Tensor, height: int, width: int, threshold: float = 0.5) -> BitMasks:
        """Each grid over its box of `boxes` (N, 4) in an image of this size; what reaches `threshold` is in."""
        return BitMasks(paste_masks(self.tensor.float(), boxes, (height, width), threshold))


def _rings(rings: Any) -> list[NDArray[Any]]:
    """The rings of one object as arrays."""
    if not isinstance(rings, list):
        raise ValueError(
            f"Cannot create polygons: Expect a list of polygons per instance. Got '{type(rings)}' instead."
        )
    arrays = [
        (each.cpu().numpy() if isinstance(each, Tensor) else np.asarray(each)).astype("float64") for each in rings
    ]
    for ring in arrays:
        if len(ring) % 2 != 0 or len(ring) < 6:
            raise ValueError(f"Cannot create a polygon from {len(ring)} coordinates.")
    return arrays
