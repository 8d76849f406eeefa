"""What flows between the parts: plain frozen dataclasses of plain tensors.

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
    """`value` with `function` applied to the tensors it is or holds; everything else is returned as it is."""
    if isinstance(value, Mapping):
        return {key: map_tensors(item, function) for key, item in value.items()}
    if not isinstance(value, Tensor):
        return value
    if type(value) is Tensor:
        return function(value)
    # An extra may be a tensor subclass that carries metadata (a canvas size); torch drops both when indexing.
    result = function(value.as_subclass(Tensor)).as_subclass(type(value))
    result.__dict__.update(value.__dict__)
    return result


@dataclass(frozen=True, eq=False, kw_only=True)
class Polygons:
    """The outlines of N objects, each of one or several closed rings; an object may have none.

    They stay on the CPU, where they are drawn. Iterating gives each object's rings, float64 arrays (corners, 2).

    Attributes:
        points: float32 (P, 2): x, y in continuous pixels, ring after ring, object after object.
        corners: int64 (R,): how many points each ring has.
        rings: int64 (N,): how many rings each object has.
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
            raise StructureError("Polygons", "must say where each of its points belongs", found)

    @classmethod
    def of(cls, objects: Sequence[Sequence[Any]]) -> "Polygons":
        """From COCO's form: for each object its rings, each of which is x0, y0, x1, y1, ..."""
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
        """The chosen objects: `index` is a slice, a bool mask (N,) or int64 indices (M,)."""
        index = index.cpu() if isinstance(index, Tensor) else index
        chosen = torch.arange(len(self))[index]
        ring = _spans(self.rings, chosen)
        return Polygons(
            points=self.points[_spans(self.corners, ring)], corners=self.corners[ring], rings=self.rings[chosen]
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Polygons":
        """Itself, wherever the rest goes."""
        return self


def _spans(lengths: Tensor, chosen: Tensor) -> Tensor:
    """The rows that the chosen spans cover, where span i is `lengths[i]` rows long and begins where i - 1 ends."""
    own = lengths[chosen]
    start = (lengths.cumsum(0) - lengths)[chosen] - (own.cumsum(0) - own)
    return torch.arange(int(own.sum())) + start.repeat_interleave(own)


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskGrids:
    """Masks on grids of several sizes, each within a window of its own, which need not be the object's box.

    Attributes:
        grids: one per object, float32 (S, S), probabilities.
        windows: float32 (N, 4): where the grids lie, in the pixels of the image; they may reach out of it.
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
        """The chosen objects: `index` is a slice, a bool mask (N,) or int64 indices (M,)."""
        rows = torch.arange(len(self))[index.cpu() if isinstance(index, Tensor) else index].tolist()
        return MaskGrids(grids=tuple(self.grids[row] for row in rows), windows=self.windows[index])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "MaskGrids":
        """The same on another device."""
        grids = tuple(grid.to(device, non_blocking=non_blocking) for grid in self.grids)
        return MaskGrids(grids=grids, windows=self.windows.to(device, non_blocking=non_blocking))


@dataclass(frozen=True, eq=False, kw_only=True)
class _PerObject:
    """Shared behaviour of the structures whose fields hold one row per object."""

    boxes: Tensor = field(metadata=_PER_OBJECT)

    def __post_init__(self) -> None:
        if self.boxes.ndim != 2 or self.boxes.shape[1] not in (4, 5):
            raise StructureError(
                f"{type(self).__name__}.boxes", "must have shape (N, 4) or (N, 5)", f"got {tuple(self.boxes.shape)}"
            )
        if torch.compiler.is_exporting():
            return  # a graph does not know how many objects there will be
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
        """The chosen objects: `index` is a slice, a bool mask (N,) or int64 indices (M,)."""
        chosen: dict[str, Any] = {
            f.name: value[index] if isinstance(value, Polygons | MaskGrids) else map_tensors(value, lambda t: t[index])
            for f in fields(self)
            if f.metadata.get("per") == "object"
            for value in (getattr(self, f.name),)
        }
        return replace(self, **chosen)

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
    """What is truly there in one image.

    Attributes:
        boxes: float32 (N, 4), or (N, 5) rotated.
        labels: int64 (N,), in [0, C).
        masks: bool (N, H, W), or the objects' outlines, or None.
        keypoints: float32 (N, K, 3): x, y, visibility (0 not labelled, 1 hidden, 2 visible), or None.
        crowd: bool (N,): regions that stand for many objects; never trained on, forgiven in evaluation. None: none is.
        areas: float32 (N,): object areas in square pixels as annotated, for evaluation by size. None: the boxes' areas.
        semantic: int64 (H, W) class of each pixel, 255 where unknown, or None.
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
        """The single objects alone, which is what a model learns from."""
        return self if self.crowd is None else self[~self.crowd]


@dataclass(frozen=True, eq=False, kw_only=True)
class Proposals(_PerObject):
    """Where a proposal generator suspects objects in one image, by falling objectness.

    Attributes:
        boxes: float32 (N, 4), or (N, 5) rotated.
        logits: float32 (N,): objectness before the sigmoid.
    """

    logits: Tensor = field(metadata=_PER_OBJECT)


@dataclass(frozen=True, eq=False, kw_only=True)
class Detections(_PerObject):
    """What a model says is there in one image, by falling score unless the model says otherwise.

    Attributes:
        boxes: float32 (N, 4) within `size`, or (N, 5) rotated, which may reach out of it.
        labels: int64 (N,), in [0, C).
        scores: float32 (N,), in [0, 1].
        size: (height, width) of the image that the coordinates refer to.
        masks: bool (N, height, width); or float32 (N, S, S), the probabilities within each box, small as a model makes
            them, or `MaskGrids`, which lie elsewhere; `det_core.ops.masks.paste_masks` (and `Result.masks`) puts both
            into the image; or None.
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
    """The class scores of every pixel of one image: `logits` float32 (C, H, W)."""

    logits: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class PanopticMap:
    """Every pixel of one image assigned to a segment.

    Attributes:
        ids: int32 (H, W): the segment of each pixel, 0 where none.
        segments: one mapping per segment: "id", "label" (int), "is_thing" (bool), "score" (float, things only).
    """

    ids: Tensor
    segments: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction:
    """Everything a model says about one image; what it does not do is None.

    `extras` hold what is per image, under qualified keys.
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
        targets: the truth in this image's pixels; None where nobody has looked.
        id: what the dataset calls the image (COCO: the image id).
        path: the file it came from, for messages; None where there is no file.
        proposals: for models that are given them (Fast R-CNN); None where there are none.
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
        pixels: uint8, or float32 with the same values (0..255), RGB, (B, 3, H, W). What stands in the padding does not
            matter: a model normalises first and pads with zeros after.
        sizes: (height, width) of each image without its padding.
        proposals: of each image, for models that do not find their own (Fast R-CNN); None where nobody gives any.
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
        given = None if proposals is None else tuple(proposals)
        if not images:
            raise StructureError("ImageBatch.stack", "needs at least one image")
        sizes = tuple((image.shape[-2], image.shape[-1]) for image in images)
        if len(set(sizes)) == 1:
            return cls(pixels=torch.stack(list(images)), sizes=sizes, proposals=given)
        height, width = max(h for h, _ in sizes), max(w for _, w in sizes)
        pixels = images[0].new_zeros((len(images), 3, height, width))
        for row, image, (h, w) in zip(pixels, images, sizes, strict=True):
            row[:, :h, :w] = image
        return cls(pixels=pixels, sizes=sizes, proposals=given)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "ImageBatch":
        """The same on another device."""
        given = self.proposals
        proposals = None if given is None else tuple(each.to(device, non_blocking) for each in given)
        return replace(self, pixels=self.pixels.to(device, non_blocking=non_blocking), proposals=proposals)
