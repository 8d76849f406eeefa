"""Augmentation: the transforms of torchvision.transforms.v2 on samples, and the one that we miss there.

Inside, a sample is a dict of tv_tensors; outside it is a `Sample`. What a dataset puts into
`Targets.extras` as a plain tensor keeps its values and goes where its object goes; as a tv_tensor (`Points`, or a class
with kernels of its own) it also follows flips, crops and resizes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from det_core.contracts import Transform
from det_core.data.formats.rotated_boxes import on_canvas
from det_core.errors import ConfigError, StructureError
from det_core.ops import rotated
from det_core.ops.geometry import geometry
from det_core.ops.masks import tight_boxes
from det_core.printable import quoted
from det_core.structures import Polygons, Proposals, Sample, Size, Targets, map_tensors

__all__ = ["Points", "ResizeShortestEdge", "compose"]

# Objects of which a transform leaves less than this, in pixels of either side, are gone.
_SMALLEST_SIDE = 1.0
_FORMATS = {4: tv_tensors.BoundingBoxFormat.XYXY, 5: tv_tensors.BoundingBoxFormat.CXCYWHR}


class Points(tv_tensors.KeyPoints):
    """Points (..., 2) in continuous coordinates, as boxes have them: x = 0 is the image's left edge.

    torchvision's own key points are indices of pixels and mirror to `width - 1 - x`; these mirror to `width - x`.
    """


@functional.register_kernel(functional.horizontal_flip, Points)
def _mirror_x(points: Points) -> Points:
    x, y = points.as_subclass(Tensor).unbind(-1)
    return tv_tensors.wrap(torch.stack((points.canvas_size[1] - x, y), -1), like=points)


@functional.register_kernel(functional.vertical_flip, Points)
def _mirror_y(points: Points) -> Points:
    x, y = points.as_subclass(Tensor).unbind(-1)
    return tv_tensors.wrap(torch.stack((x, points.canvas_size[0] - y), -1), like=points)


class ResizeShortestEdge(v2.Transform):
    """Resize so that the shorter side gets a size of the given ones and the longer stays within `max_size`.

    Args:
        size: the shorter side in pixels, one or several to draw from.
        max_size: the longer side in pixels, at most; None sets no bound.
        draw: "choice" draws one of `size`; "range" any whole number from its first to its last.
    """

    def __init__(
        self,
        size: int | Sequence[int] = 800,
        max_size: int | None = 1333,
        draw: Literal["choice", "range"] = "choice",
    ) -> None:
        super().__init__()
        sizes = (size,) if isinstance(size, int) else tuple(size)
        where = type(self).__name__
        if not sizes or min(sizes) < 1:
            raise ConfigError(f"{where}.size", "must be one or several positive numbers", f"got {size}")
        if draw == "range" and (len(sizes) != 2 or sizes[0] > sizes[1]):
            raise ConfigError(f"{where}.size", "must be the smallest and the largest", f"got {size}")
        if max_size is not None and max_size < 1:
            raise ConfigError(f"{where}.max_size", "must be positive", f"got {max_size}")
        self.size, self.max_size, self.draw = sizes, max_size, draw

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the size, for all parts of a sample alike."""
        if self.draw == "range":
            short = int(torch.randint(self.size[0], self.size[1] + 1, ()))
        else:
            short = self.size[int(torch.randint(len(self.size), ()))]
        return {"size": list(self.resized(v2.query_size(flat_inputs), short))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize one part of a sample."""
        return functional.resize(inpt, params["size"], antialias=True)

    def resized(self, size: Size, short: int) -> Size:
        """The size of an image of `size` with a shorter side of `short`, as far as `max_size` allows."""
        scale = short / min(size)
        if self.max_size is not None:
            scale = min(scale, self.max_size / max(size))
        height, width = (max(1, int(side * scale + 0.5)) for side in size)
        return height, width


def compose(
    transforms: Sequence[Any], flip_pairs: Sequence[tuple[int, int]] = (), where: str = "transforms"
) -> Transform:
    """One transform of samples that applies all of `transforms` in order.

    Args:
        transforms: any mix of torchvision.transforms.v2 transforms and callables from Sample to Sample.
        flip_pairs: keypoints that change places when an image is mirrored.
        where: name of `transforms` in an error.

    Objects of which torchvision's transforms leave less than one pixel of width or height, or no pixel of the mask, are
    dropped, boxes are clipped to the image, and keypoints outside of it count as not labelled. Where a part of the
    image is cut off, boxes are recomputed from the masks, if there are masks. A rotated box is
    clipped only where it stands level, and dropped where none of it lies in the image.
    """
    for place, transform in enumerate(transforms):
        if type(transform).__module__.startswith("torchvision.transforms.transforms"):
            fix = f"use torchvision.transforms.v2:{type(transform).__name__}"
            raise ConfigError(
                f"transforms[{place}]", "torchvision's first transforms move images but not boxes", fix=fix
            )
        if not callable(transform):
            raise ConfigError(f"{where}[{place}]", "must be callable", f"got {quoted(transform)}")
    steps: list[Callable[[Sample], Sample]] = []
    # Neighbours share one adapter: a sample is taken apart and put together once for all of them.
    for adapted, members in groupby(transforms, key=lambda transform: isinstance(transform, v2.Transform)):
        group = list(members)
        steps += [_OnSample(v2.Compose(group), flip_pairs)] if adapted else map(_Checked, group)
    return _InOrder(steps)


class _InOrder:
    def __init__(self, steps: Sequence[Callable[[Sample], Sample]]) -> None:
        self.steps = steps

    def __call__(self, sample: Sample) -> Sample:
        for step in self.steps:
            sample = step(sample)
        return sample


class _Checked:
    """A transform of the user; its result is validated."""

    def __init__(self, transform: Callable[[Sample], Sample]) -> None:
        self.transform = transform

    def __call__(self, sample: Sample) -> Sample:
        result = self.transform(sample)
        if not isinstance(result, Sample):
            name = getattr(self.transform, "__name__", type(self.transform).__name__)
            raise StructureError(f"transform {name}", "must return a Sample", f"got {type(result).__name__}")
        return result


class _OnSample:
    """A torchvision transform, on samples."""

    def __init__(self, transform: v2.Transform, flip_pairs: Sequence[tuple[int, int]] = ()) -> None:
        self.transform = transform
        self.flip_pairs = flip_pairs

    def __call__(self, sample: Sample) -> Sample:
        parts: dict[str, Any] = {"image": tv_tensors.Image(sample.image)}
        if sample.targets is not None:
            parts |= _take_apart(sample.targets, sample.size)
        if sample.proposals is not None:
            parts["proposals"] = _corner_points(sample.proposals.boxes, sample.size)
        parts = self.transform(parts)
        image = parts["image"].as_subclass(Tensor)
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
            found = f"one of them made it {tuple(image.shape)} {image.dtype}"
            fix = "leave out conversions and normalisation: the model does both"
            raise StructureError("transforms", "must leave an image uint8 (3, H, W)", found, fix)
        size = (image.shape[-2], image.shape[-1])
        if sample.proposals is not None:
            sample = replace(sample, proposals=_around(parts["proposals"], sample.proposals, size))
        if sample.targets is None:
            return replace(sample, image=image)
        _require_followed(parts, size)
        return replace(sample, image=image, targets=_put_together(parts, sample.targets, size, self.flip_pairs))


def _take_apart(targets: Targets, size: Size) -> dict[str, Any]:
    """The parts of `targets` that have a place in the image, as tv_tensors."""
    boxes: tv_tensors.BoundingBoxes
    if targets.boxes.shape[1] == 5:
        boxes = on_canvas(targets.boxes, size)
    else:
        boxes = tv_tensors.BoundingBoxes(targets.boxes, format="XYXY", canvas_size=size)
    parts: dict[str, Any] = {
        "boxes": boxes,
        # Row numbers, under the name by which SanitizeBoundingBoxes finds the rows to drop along with the boxes.
        "labels": torch.arange(len(targets)),
    }
    if isinstance(targets.masks, Polygons):
        parts["polygons"] = Points(targets.masks.points, canvas_size=size)
    elif targets.masks is not None:
        parts["masks"] = tv_tensors.Mask(targets.masks)
    if targets.semantic is not None:
        parts["semantic"] = tv_tensors.Mask(targets.semantic)
    if targets.keypoints is not None:
        parts["keypoints"] = Points(targets.keypoints[..., :2], canvas_size=size)
    # The corners of the image, clockwise: after a mirror they run the other way round, after a crop they lie outside.
    height, width = size
    corners = torch.tensor([[0, 0], [width, 0], [width, height], [0, height]], dtype=torch.float32)
    parts["corners"] = Points(corners, canvas_size=size)
    return parts | {"extras": dict(targets.extras), "image_extras": dict(targets.image_extras)}


def _corner_points(boxes: Tensor, size: Size) -> Points:
    """The four corners of boxes (P, 4), as points (P, 4, 2), so that transforms of objects leave them alone."""
    if boxes.shape[1] != 4:
        raise StructureError("Sample.proposals", "rotated proposals do not go through transforms yet")
    return Points(boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2), canvas_size=size)


def _around(corners: Points, before: Proposals, size: Size) -> Proposals:
    """Proposals around their corners, clipped to the image, without those of which nothing is left."""
    points = corners.as_subclass(Tensor)
    boxes = geometry(4).clip(torch.cat((points.amin(1), points.amax(1)), 1), size)
    keep = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return Proposals(boxes=boxes[keep], logits=before.logits[keep])


def _require_followed(parts: Mapping[str, Any], size: Size) -> None:
    """Refuse an extra on a canvas of another size than the image."""
    for key, value in (parts["extras"] | parts["image_extras"]).items():
        if tuple(getattr(value, "canvas_size", size)) != size:
            found = f"it lies on {tuple(value.canvas_size)}, the image is {size} now"
            fix = f"give {type(value).__name__} a kernel for each transform, with torchvision's register_kernel"
            raise StructureError(f"extra {key!r}", "did not follow the transforms", found, fix)


def _put_together(
    parts: Mapping[str, Any], before: Targets, size: Size, flip_pairs: Sequence[tuple[int, int]]
) -> Targets:
    """The targets after the transforms, without the objects that are gone; all per-object fields stay aligned."""
    rows: Tensor = parts["labels"]

    def of_rows(value: Tensor) -> Tensor:
        # A transform that drops boxes may have dropped this along with them, or left it as it was.
        return value if len(value) == len(rows) else value[rows]

    form = geometry(before.boxes.shape[1])
    boxes = functional.convert_bounding_box_format(parts["boxes"], new_format=_FORMATS[form.dim])
    boxes = form.clip(of_rows(boxes.as_subclass(Tensor)), size)
    masks: Tensor | Polygons | None = None
    if isinstance(before.masks, Polygons):
        masks = replace(before.masks, points=parts["polygons"].as_subclass(Tensor))[rows]
    elif "masks" in parts:
        masks = of_rows(parts["masks"].as_subclass(Tensor))
    keep = _left(boxes, size)
    if form.dim == 4 and masks is not None and _cut(parts["corners"], size):
        boxes = tight_boxes(masks, boxes, size)
        keep = _left(boxes, size)
    if isinstance(masks, Tensor):
        keep &= masks.flatten(1).any(1)
    boxes = boxes[keep]
    after = before[rows[keep]]
    if after.areas is not None:
        after = replace(after, areas=after.areas * form.area(boxes) / form.area(after.boxes))
    if after.keypoints is not None:
        points = of_rows(parts["keypoints"].as_subclass(Tensor))[keep]
        points = _keypoints_within(points, after.keypoints[..., 2], size)
        after = replace(after, keypoints=_swapped(points, flip_pairs) if _mirrored(parts["corners"]) else points)
    return replace(
        after,
        boxes=boxes,
        masks=None if masks is None else masks[keep],
        extras={key: map_tensors(value, lambda extra: of_rows(extra)[keep]) for key, value in parts["extras"].items()},
        semantic=parts["semantic"].as_subclass(Tensor) if "semantic" in parts else None,
        image_extras=parts["image_extras"],
    )


def _left(boxes: Tensor, size: Size) -> Tensor:
    """Which boxes, upright ones clipped, still show something in an image of `size`: bool (N,)."""
    if boxes.shape[1] == 4:
        return (boxes[:, 2:] - boxes[:, :2] >= _SMALLEST_SIDE).all(1)
    height, width = size
    image = boxes.new_tensor([[width / 2, height / 2, width, height, 0]])
    return (boxes[:, 2:4] >= _SMALLEST_SIDE).all(1) & (rotated.iou(boxes, image)[:, 0] > 0)


def _keypoints_within(points: Tensor, visibility: Tensor, size: Size) -> Tensor:
    """Points (N, K, 2) and their visibility as keypoints (N, K, 3); zeros where not labelled or out of the image."""
    inside = ((points >= 0) & (points <= points.new_tensor([size[1], size[0]]))).all(-1)
    return torch.cat((points, visibility[..., None]), -1) * (inside & (visibility > 0))[..., None]


def _mirrored(corners: Tensor) -> bool:
    first, second = corners[1] - corners[0], corners[2] - corners[1]
    return bool(first[0] * second[1] - first[1] * second[0] < 0)


def _cut(corners: Tensor, size: Size) -> bool:
    """Whether a part of the image has been cut off: by more than half a pixel, which resizing may round away."""
    return bool((corners < -0.5).any() or (corners > corners.new_tensor([size[1], size[0]]) + 0.5).any())


def _swapped(keypoints: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    order = list(range(keypoints.shape[1]))
    for left, right in pairs:
        order[left], order[right] = right, left
    return keypoints[:, order]
