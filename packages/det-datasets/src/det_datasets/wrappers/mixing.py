"""Augmentations that combine several images, mosaic and copy-paste, as dataset wrappers.

They use torch's random numbers, which the training loader seeds by the position in the stream; elsewhere, like every
random transform, they differ from call to call.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from det_core.contracts import Dataset
from det_core.data.loading.samplers import require_indexed
from det_core.data.transforms.geometric import compose
from det_core.errors import ConfigError, DataError
from det_core.ops.masks import tight_boxes
from det_core.structures import Polygons, Sample, Size, Targets
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

__all__ = ["CopyPaste", "Mosaic"]


class _Wrapper:
    """Base class: delegates classes, evaluators and labels to the wrapped dataset."""

    def __init__(self, dataset: Dataset, chance: float) -> None:
        if not 0 <= chance <= 1:
            raise ConfigError(f"{type(self).__name__}.chance", "must be from 0 to 1", f"got {chance}")
        self.dataset, self.chance = dataset, chance
        self.classes, self.evaluators = dataset.classes, dataset.evaluators
        self.keypoint_names = tuple(getattr(dataset, "keypoint_names", ()))
        self.flip_pairs = tuple(getattr(dataset, "flip_pairs", ()))
        self.num_objects = getattr(dataset, "num_objects", None)
        self.num_learnable = getattr(dataset, "num_learnable", None)
        self.annotations = getattr(dataset, "annotations", type(dataset).__name__)
        if hasattr(dataset, "sampler"):  # the weights of `concat`
            self.sampler = dataset.sampler

    def __len__(self) -> int:
        return len(self.dataset)

    def path(self, index: int) -> Any:
        """File of the first image of a sample, or its index where the dataset has no `path`."""
        path = getattr(self.dataset, "path", None)
        return path(index) if callable(path) else f"image number {index} of {type(self.dataset).__name__}"

    def labels_of(self, index: int) -> Sequence[int]:
        """Label of each object of the first image of a sample."""
        return require_indexed(self.dataset, type(self).__name__).labels_of(index)

    def _is_applied(self) -> bool:
        return torch.rand(()).item() < self.chance

    def _other(self) -> Sample:
        """A random sample of the dataset."""
        return self.dataset[int(torch.randint(len(self.dataset), ()))]


class Mosaic(_Wrapper):
    """Four images around a point, each cropped at it (Bochkovskiy et al., "YOLOv4", 2020).

    The first is the sample of the given index, at the top left; the others are drawn from the dataset. Each is resized
    to cover its part, and cropped to it at a random position. Boxes, masks and keypoints follow as in any crop.

    Args:
        dataset: images and objects, with masks as bitmaps if there are any; proposals are not supported.
        size: (height, width) of the result in pixels.
        chance: probability of a mosaic in place of the single image, in [0, 1].
        center: minimum and maximum of the point's coordinates, as fractions of height and width.
    """

    def __init__(
        self,
        dataset: Dataset,
        size: Sequence[int] = (640, 640),
        chance: float = 1.0,
        center: Sequence[float] = (0.3, 0.7),
    ) -> None:
        super().__init__(dataset, chance)
        if len(size) != 2 or min(size) < 8:
            raise ConfigError("Mosaic.size", "must be height and width, at least 8 pixels", f"got {size}")
        if len(center) != 2 or not 0 < center[0] <= center[1] < 1:
            raise ConfigError("Mosaic.center", "must be two fractions between 0 and 1, in order", f"got {center}")
        self.size, self.center = (size[0], size[1]), (float(center[0]), float(center[1]))

    def __getitem__(self, index: int) -> Sample:
        """The sample, or a mosaic that begins with it."""
        first = self.dataset[index]
        if not self._is_applied():
            return first
        low, high = self.center
        y, x = (round(side * (low + (high - low) * torch.rand(()).item())) for side in self.size)
        height, width = self.size
        places = ((0, 0, y, x), (0, x, y, width - x), (y, 0, height - y, x), (y, x, height - y, width - x))
        image = torch.zeros((3, height, width), dtype=torch.uint8)
        parts = []
        for number, (top, left, h, w) in enumerate(places):
            part = _covering(first if number == 0 else self._other(), (h, w))
            image[:, top : top + h, left : left + w] = part.image
            parts.append(_moved(_targets(part), (top, left), self.size))
        return replace(first, image=image, targets=_joined(parts))

    def size_of(self, index: int) -> Size:
        """(height, width) of the result, if every sample is a mosaic; otherwise of the stored image."""
        return self.size if self.chance == 1 else require_indexed(self.dataset, "Mosaic").size_of(index)


class CopyPaste(_Wrapper):
    """Objects of one image pasted onto another (Ghiasi et al., "Simple Copy-Paste", 2021).

    Each object of a random image of the dataset, resized to the size of the sample and flipped with probability 0.5, is
    pasted with probability 0.5. Masks below lose the covered pixels, boxes are recomputed from the remaining ones, and
    objects of which less than `visible` remains are dropped. Crowds are not pasted.

    Args:
        dataset: images and objects, with masks as bitmaps.
        chance: probability of pasting, in [0, 1].
        visible: minimum remaining fraction of an object's pixels, in [0, 1].
    """

    def __init__(self, dataset: Dataset, chance: float = 0.5, visible: float = 0.1) -> None:
        super().__init__(dataset, chance)
        if not 0 <= visible <= 1:
            raise ConfigError("CopyPaste.visible", "must be from 0 to 1", f"got {visible}")
        self.visible = visible

    def __getitem__(self, index: int) -> Sample:
        """The sample, possibly with pasted objects."""
        below = self.dataset[index]
        if not self._is_applied():
            return below
        resized = compose([v2.Resize(below.size), v2.RandomHorizontalFlip()], self.flip_pairs)(self._other())
        above = _targets(resized).without_crowd()
        above = above[torch.rand(len(above)) < 0.5]
        masks = _bitmaps(above, resized)
        if not len(above):
            return below
        cover = masks.any(0)
        image = torch.where(cover, resized.image, below.image)
        return replace(below, image=image, targets=_joined([self._remaining(_targets(below), below, cover), above]))

    def size_of(self, index: int) -> Size:
        """(height, width) of the image."""
        return require_indexed(self.dataset, "CopyPaste").size_of(index)

    def _remaining(self, targets: Targets, sample: Sample, cover: Tensor) -> Targets:
        """The visible parts of the objects below."""
        masks = _bitmaps(targets, sample)
        remaining = masks & ~cover
        before, after = masks.flatten(1).sum(1), remaining.flatten(1).sum(1)
        visible = (after > 0) & (after >= self.visible * before)
        changed = (after < before)[visible]
        targets, remaining, share = targets[visible], remaining[visible], (after / before.clamp(min=1))[visible]
        boxes = torch.where(changed[:, None], tight_boxes(remaining, targets.boxes, sample.size), targets.boxes)
        areas = None if targets.areas is None else targets.areas * share
        keypoints = targets.keypoints
        if keypoints is not None:
            # Covered keypoints are occluded, no longer visible.
            x, y = (keypoints[..., axis].long().clamp(0, cover.shape[1 - axis] - 1) for axis in (0, 1))
            visibility = torch.where(cover[y, x], keypoints[..., 2].clamp(max=1), keypoints[..., 2])
            keypoints = torch.cat((keypoints[..., :2], visibility[..., None]), -1)
        return replace(targets, masks=remaining, boxes=boxes, areas=areas, keypoints=keypoints)


def _targets(sample: Sample) -> Targets:
    if sample.targets is None:
        raise DataError(str(sample.path or sample.id), "has no annotation, so that it cannot be mixed with others")
    if sample.targets.semantic is not None or sample.targets.image_extras or sample.proposals is not None:
        raise DataError(str(sample.path or sample.id), "has annotations other than objects, which cannot be mixed")
    if isinstance(sample.targets.masks, Polygons):
        # A polygon may extend beyond a part of the image, and so into another one.
        problem = "has polygons, which are not clipped where they are covered or cropped"
        raise DataError(str(sample.path or sample.id), problem, fix="set masks to 'bitmaps' in the dataset")
    if placed := [key for key, value in sample.targets.extras.items() if hasattr(value, "canvas_size")]:
        raise DataError(str(sample.path or sample.id), f"has the extra {placed[0]!r}, which cannot be translated")
    return sample.targets


def _bitmaps(targets: Targets, sample: Sample) -> Tensor:
    if not isinstance(targets.masks, Tensor):
        fix = "set masks to 'bitmaps' in the dataset"
        raise DataError(str(sample.path or sample.id), "has no bitmaps to cut objects out by", fix=fix)
    return targets.masks


def _covering(sample: Sample, size: Size) -> Sample:
    """The sample resized to cover `size`, and cropped to it at a random position."""
    scale = max(target / side for target, side in zip(size, sample.size, strict=True))
    height, width = (max(target, round(side * scale)) for target, side in zip(size, sample.size, strict=True))
    return compose([v2.Resize((height, width)), v2.RandomCrop(size)])(sample)


def _moved(targets: Targets, corner: tuple[int, int], size: Size) -> Targets:
    """The targets of a part, translated to the coordinates of the whole."""
    top, left = corner
    boxes = targets.boxes.clone()
    boxes[:, :2] += boxes.new_tensor([left, top])
    if boxes.shape[1] == 4:
        boxes[:, 2:] += boxes.new_tensor([left, top])
    masks = targets.masks
    if isinstance(masks, Tensor):
        height, width = masks.shape[-2:]
        masks = functional.pad(masks, [left, top, size[1] - left - width, size[0] - top - height])
    keypoints = targets.keypoints
    if keypoints is not None:
        shift = keypoints.new_tensor([left, top, 0]) * (keypoints[..., 2:] > 0)
        keypoints = keypoints + shift
    return replace(targets, boxes=boxes, masks=masks, keypoints=keypoints)


def _joined(parts: Sequence[Targets]) -> Targets:
    """Concatenates the objects of all parts, which have the same fields."""
    first = parts[0]

    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if all(value is None for value in values):
            return None
        return torch.cat(values)

    crowd = [torch.zeros(len(p), dtype=torch.bool) if p.crowd is None else p.crowd for p in parts]
    extras = {key: torch.cat([part.extras[key] for part in parts]) for key in first.extras}
    names = ("boxes", "labels", "masks", "keypoints", "areas")
    return replace(first, **{name: joined(name) for name in names}, crowd=torch.cat(crowd), extras=extras)
