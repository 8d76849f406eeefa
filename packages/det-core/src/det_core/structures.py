"""Data structures passed between the parts: plain frozen dataclasses of plain tensors.

Coordinates and units are those of docs/structures.md: boxes float32 (x0, y0, x1, y1) in absolute, continuous pixels
(pixel i covers [i, i + 1)); rotated boxes (cx, cy, w, h, angle) in degrees; sizes (height, width); labels int64 in
[0, C); scores in [0, 1].
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from det_core.errors import StructureError

__all__ = [
    "Detections",
    "ImageBatch",
    "MaskGrids",
    "PanopticMap",
    "Polygons",
    "Prediction",
    "Proposals",
    "Sample",
    "SemanticMap",
    "Size",
    "Targets",
    "map_tensors",
]

Size = tuple[int, int]
"""(height, width) in pixels."""

_T = TypeVar("_T")
_PER_OBJECT = {"per": "object"}
_PER_IMAGE = {"per": "image"}


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """`value` with `function` applied to all tensors in it; everything else is unchanged."""
    if isinstance(value, Mapping):
        return {key: map_tensors(item, function) for key, item in value.items()}
    if not isinstance(value, Tensor):
        return value
    if type(value) is Tensor:
        return function(value)
    # An extra may be a tensor subclass with metadata (a canvas size); torch drops both when indexing.
    result = function(value.as_subclass(Tensor)).as_subclass(type(value))
    result.__dict__.update(value.__dict__)
    return result


@dataclass(frozen=True, eq=False, kw_only=True)
class Polygons:
    """The polygons of N objects, each of one or several closed rings; an object may have none.

    They stay on the CPU, where they are rendered. Iterating gives the rings of each object, float64 arrays (corners,
    2).

    Attributes:
        points: float32 (P, 2): x, y in continuous pixels, ring after ring, object after object.
        corners: int64 (R,): number of points of each ring.
        rings: int64 (N,): number of rings of each object.
    """

    points: Tensor
    corners: Tensor
    rings: Tensor

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 2:
            found = f"got {tuple(self.points.shape)}"
            raise StructureError("Polygons.points", "must have shape (P, 2)", found)
        if int(self.corners.sum()) != len(self.points) or int(self.rings.sum()) != len(self.corners):
            found = f"{len(self.points)} points, {self.corners.tolist()} a ring, {self.rings.tolist()} rings an object"
            raise StructureError("Polygons", "must assign each point to a ring and an object", found)

    @classmethod
    def of(cls, objects: Sequence[Sequence[Any]]) -> "Polygons":
        """From the COCO format: for each object its rings, each of which is x0, y0, x1, y1, ..."""
        rings = [torch.as_tensor(ring, dtype=torch.float32).reshape(-1, 2) for rings in objects for ring in rings]
        return cls(
            points=torch.cat([torch.zeros(0, 2), *rings]),
            corners=torch.tensor([len(ring) for ring in rings], dtype=torch.int64),
            rings=torch.tensor([len(rings) for rings in objects], dtype=torch.int64),
        )

    def __len__(self) -> int:
        return len(self.rings)

    def __iter__(self) -> "Iterator[list[NDArray[np.float64]]]":
        rings = (
            np.split(self.points.double().numpy(), np.cumsum(self.corners.numpy())[:-1]) if len(self.corners) else []
        )
        start = 0
        for count in self.rings.tolist():
            yield rings[start : start + count]
            start += count

    def __getitem__(self, index: Tensor | slice) -> "Polygons":
        """The selected objects: `index` is a slice, a bool mask (N,) or int64 indices (M,)."""
        index = index.cpu() if isinstance(index, Tensor) else index
        selected = torch.arange(len(self))[index]
        ring = _spans(self.rings, selected)
        return Polygons(
            points=self.points[_spans(self.corners, ring)], corners=self.corners[ring], rings=self.rings[selected]
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Polygons":
        """Itself, on any device."""
        return self


def _spans(lengths: Tensor, selected: Tensor) -> Tensor:
    """The rows of the selected spans, where span i is `lengths[i]` rows long and begins at the end of i - 1."""
    counts = lengths[selected]
    start = (lengths.cumsum(0) - lengths)[selected] - (counts.cumsum(0) - counts)
    return torch.arange(int(counts.sum())) + start.repeat_interleave(counts)


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskGrids:
    """Masks on grids of several sizes, each within its own window, which may differ from the object's box.

    Attributes:
        grids: one per object, float32 (S, S), probabilities.
        windows: float32 (N, 4): the grids in image coordinates; they may extend beyond the image.
    """

    grids: tuple[Tensor, ...]
    windows: Tensor

    def __post_init__(self) -> None:
        if self.windows.shape != (len(self.grids), 4):
            found = f"got {tuple(self.windows.shape)} for {len(self.grids)} grids"
            raise StructureError("MaskGrids.windows", "must have shape (N, 4)", found)

    def __len__(self) -> int:
        return len(self.grids)

    def __getitem__(self, index: Tensor | slice) -> "MaskGrids":
        """The selected objects: `index` is a slice, a bool mask (N,) or int64 indices (M,)."""
        rows = torch.arange(len(self))[index.cpu() if isinstance(index, Tensor) else index].tolist()
        return MaskGrids(grids=tuple(self.grids[row] for row in rows), windows=self.windows[index])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "MaskGrids":
        """The same on another device."""
        grids = tuple(grid.to(device, non_blocking=non_blocking) for grid in self.grids)
        return MaskGrids(grids=grids, windows=self.windows.to(device, non_blocking=non_blocking))


@dataclass(frozen=True, eq=False, kw_only=True)
class _PerObject:
    """Base of the structures with one row per object."""

    boxes: Tensor = field(metadata=_PER_OBJECT)

    def __post_init__(self) -> None:
        if self.boxes.ndim != 2 or self.boxes.shape[1] not in (4, 5):
            raise StructureError(
                f"{type(self).__name__}.boxes", "must have shape (N, 4) or (N, 5)", f"got {tuple(self.boxes.shape)}"
            )
        if torch.compiler.is_exporting():
            return  # the number of objects is unknown in an exported graph
        for name, value in self._per_object():
            if (isinstance(value, Tensor) and value.ndim == 0) or len(value) != len(self):
                shape = tuple(value.shape) if isinstance(value, Tensor) else (len(value),)
                found = f"its shape is {shape} beside {len(self)} boxes"
                raise StructureError(f"{type(self).__name__}.{name}", "must have one row per box", found)

    def _per_object(self) -> Iterator[tuple[str, Tensor | Polygons | MaskGrids]]:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.metadata.get("per") != "object" or value is None:
                continue
            if isinstance(value, Mapping):
                yield from ((f"{f.name}[{key!r}]", item) for key, item in value.items())
            else:
                yield f.name, value

    def __len__(self) -> int:
        return self.boxes.shape[0]

    def __getitem__(self, index: Tensor | slice) -> Self:
        """The selected objects: `index` is a slice, a bool mask (N,) or int64 indices (M,)."""
        selected: dict[str, Any] = {
            f.name: value[index] if isinstance(value, Polygons | MaskGrids) else map_tensors(value, lambda t: t[index])
            for f in fields(self)
            if f.metadata.get("per") == "object"
            for value in (getattr(self, f.name),)
        }
        return replace(self, **selected)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same on another device."""
        moved: dict[str, Any] = {
            f.name: value.to(device, non_blocking)
            if isinstance(value, MaskGrids)
            else map_tensors(value, lambda t: t.to(device, non_blocking=non_blocking))
            for f in fields(self)
            for value in (getattr(self, f.name),)
        }
        return replace(self, **moved)


@dataclass(frozen=True, eq=False, kw_only=True)
class Targets(_PerObject):
    """Ground truth of one image.

    Attributes:
        boxes: float32 (N, 4), or (N, 5) rotated.
        labels: int64 (N,), in [0, C).
        masks: bool (N, H, W), or polygons of the objects, or None.
        keypoints: float32 (N, K, 3): x, y, visibility (0 not labelled, 1 occluded, 2 visible), or None.
        crowd: bool (N,): regions of many objects; not used for training, ignored in evaluation. None: no crowds.
        areas: float32 (N,): object areas in square pixels as annotated, for metrics by area. None: the areas of the
            boxes.
        semantic: int64 (H, W): class of each pixel, 255 where ignored, or None.
        extras: per object, first axis N; keys are qualified ("det-densepose/points").
        image_extras: per image, any shape; keys are qualified.
    """

    labels: Tensor = field(metadata=_PER_OBJECT)
    masks: Tensor | Polygons | None = field(default=None, metadata=_PER_OBJECT)
    keypoints: Tensor | None = field(default=None, metadata=_PER_OBJECT)
    crowd: Tensor | None = field(default=None, metadata=_PER_OBJECT)
    areas: Tensor | None = field(default=None, metadata=_PER_OBJECT)
    extras: Mapping[str, Tensor] = field(default_factory=dict, metadata=_PER_OBJECT)
    semantic: Tensor | None = field(default=None, metadata=_PER_IMAGE)
    image_extras: Mapping[str, Tensor] = field(default_factory=dict, metadata=_PER_IMAGE)

    def without_crowd(self) -> "Targets":
        """The targets without crowds, which are used for training."""
        return self if self.crowd is None else self[~self.crowd]


@dataclass(frozen=True, eq=False, kw_only=True)
class Proposals(_PerObject):
    """Proposals of one image, by descending objectness.

    Attributes:
        boxes: float32 (N, 4), or (N, 5) rotated.
        logits: float32 (N,): objectness before the sigmoid.
    """

    logits: Tensor = field(metadata=_PER_OBJECT)


@dataclass(frozen=True, eq=False, kw_only=True)
class Detections(_PerObject):
    """Detections of one image, by descending score unless the model states otherwise.

    Attributes:
        boxes: float32 (N, 4) within `size`, or (N, 5) rotated, which may extend beyond it.
        labels: int64 (N,), in [0, C).
        scores: float32 (N,), in [0, 1].
        size: (height, width) of the image of the coordinates.
        masks: bool (N, height, width); or float32 (N, S, S), probabilities within each box, or `MaskGrids`, with their
            own windows; `det_core.ops.masks.paste_masks` (and `Result.masks`) pastes both into the image; or None.
        keypoints: float32 (N, K, 3): x, y, score, or None.
        extras: per object, first axis N; keys are qualified.
    """

    labels: Tensor = field(metadata=_PER_OBJECT)
    scores: Tensor = field(metadata=_PER_OBJECT)
    size: Size = field(metadata=_PER_IMAGE)
    masks: Tensor | MaskGrids | None = field(default=None, metadata=_PER_OBJECT)
    keypoints: Tensor | None = field(default=None, metadata=_PER_OBJECT)
    extras: Mapping[str, Tensor] = field(default_factory=dict, metadata=_PER_OBJECT)


@dataclass(frozen=True, eq=False, kw_only=True)
class SemanticMap:
    """Class logits of every pixel of one image: `logits` float32 (C, H, W)."""

    logits: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class PanopticMap:
    """Every pixel of one image assigned to a segment.

    Attributes:
        ids: int32 (H, W): segment of each pixel, 0 for void.
        segments: one mapping per segment: "id", "label" (int), "is_thing" (bool), "score" (float, things only).
    """

    ids: Tensor
    segments: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction:
    """All predictions of a model for one image; what it does not predict is None.

    `extras` are per image, under qualified keys.
    """

    detections: Detections | None = None
    semantic: SemanticMap | None = None
    panoptic: PanopticMap | None = None
    proposals: Proposals | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """One image of a dataset.

    Attributes:
        image: uint8 RGB (3, H, W).
        targets: ground truth in the coordinates of this image; None without annotations.
        id: image id in the dataset (COCO: the image id).
        path: file of the image, for messages; None without a file.
        proposals: precomputed proposals for models such as Fast R-CNN; None otherwise.
    """

    image: Tensor
    targets: Targets | None = None
    id: int | str = 0
    path: Path | None = None
    proposals: Proposals | None = None

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[0] != 3 or self.image.dtype != torch.uint8:
            found = f"got {tuple(self.image.shape)} {self.image.dtype}"
            raise StructureError("Sample.image", "must be uint8 RGB of shape (3, H, W)", found)

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        return self.image.shape[-2], self.image.shape[-1]


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageBatch:
    """Images of different sizes in one tensor, padded right and bottom.

    Attributes:
        pixels: uint8, or float32 with the same values (0..255), RGB, (B, 3, H, W). The content of the padding does not
            matter: a model normalizes first and pads with zeros after.
        sizes: (height, width) of each image without padding.
        proposals: proposals of each image, for models that take precomputed proposals (Fast R-CNN); None otherwise.
    """

    pixels: Tensor
    sizes: tuple[Size, ...]
    proposals: "tuple[Proposals, ...] | None" = None

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.shape[:2] != (len(self.sizes), 3):
            found = f"got {tuple(self.pixels.shape)} beside {len(self.sizes)} sizes"
            raise StructureError("ImageBatch.pixels", "must have shape (B, 3, H, W), one size per image", found)
        if self.proposals is not None and len(self.proposals) != len(self.sizes):
            found = f"got {len(self.proposals)} for {len(self.sizes)} images"
            raise StructureError("ImageBatch.proposals", "must be one per image", found)

    def __len__(self) -> int:
        return len(self.sizes)

    @classmethod
    def stack(cls, images: Sequence[Tensor], proposals: Sequence[Proposals] | None = None) -> "ImageBatch":
        """Pad images (3, H_i, W_i) of one dtype to their largest height and width."""
        image_proposals = None if proposals is None else tuple(proposals)
        if not images:
            raise StructureError("ImageBatch.stack", "needs at least one image")
        sizes = tuple((image.shape[-2], image.shape[-1]) for image in images)
        if len(set(sizes)) == 1:
            return cls(pixels=torch.stack(list(images)), sizes=sizes, proposals=image_proposals)
        height, width = max(h for h, _ in sizes), max(w for _, w in sizes)
        pixels = images[0].new_zeros((len(images), 3, height, width))
        for row, image, (h, w) in zip(pixels, images, sizes, strict=True):
            row[:, :h, :w] = image
        return cls(pixels=pixels, sizes=sizes, proposals=image_proposals)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "ImageBatch":
        """The same on another device."""
        before = self.proposals
        proposals = None if before is None else tuple(each.to(device, non_blocking) for each in before)
        return replace(self, pixels=self.pixels.to(device, non_blocking=non_blocking), proposals=proposals)
