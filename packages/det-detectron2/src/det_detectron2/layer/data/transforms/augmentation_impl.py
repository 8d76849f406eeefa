"""Random flips, crops, rotations and colors, as `detectron2.data.transforms.augmentation_impl`."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from fvcore.transforms.transform import (
    BlendTransform,
    CropTransform,
    HFlipTransform,
    NoOpTransform,
    PadTransform,
    Transform,
    TransformList,
    VFlipTransform,
)
from numpy.typing import NDArray

from det_detectron2.layer.data.transforms.augmentation import Augmentation, as_augmentation
from det_detectron2.layer.data.transforms.resizing import RandomResize, Resize, ResizeScale, ResizeShortestEdge
from det_detectron2.layer.data.transforms.transform import ExtentTransform, RotationTransform
from det_detectron2.layer.structures import Boxes, pairwise_iou

__all__ = [
    "FixedSizeCrop",
    "MinIoURandomCrop",
    "RandomApply",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomCrop_CategoryAreaConstraint",
    "RandomExtent",
    "RandomFlip",
    "RandomLighting",
    "RandomResize",
    "RandomRotation",
    "RandomSaturation",
    "Resize",
    "ResizeScale",
    "ResizeShortestEdge",
]

_Array = NDArray[Any]


class RandomApply(Augmentation):
    """Applies another augmentation with a probability.

    Args:
        tfm_or_aug: augmentation, or transform.
        prob: probability, in [0, 1].
    """

    def __init__(self, tfm_or_aug: Any, prob: float = 0.5) -> None:
        assert 0.0 <= prob <= 1.0, f"Probablity must be between 0.0 and 1.0 (given: {prob})"
        self.aug, self.prob = as_augmentation(tfm_or_aug), prob

    def get_transform(self, *args: Any) -> Transform:
        """The change that is drawn, or none."""
        return self.aug.get_transform(*args) if self._rand_range() < self.prob else NoOpTransform()

    def __call__(self, aug_input: Any) -> Transform:
        """Change an `AugInput`, or not."""
        return self.aug(aug_input) if self._rand_range() < self.prob else NoOpTransform()


class RandomFlip(Augmentation):
    """Flips horizontally or vertically with a probability.

    Args:
        prob: probability, in [0, 1].
        horizontal: whether to flip left and right; exclusive with `vertical`.
        vertical: whether to flip top and bottom; exclusive with `horizontal`.
    """

    def __init__(self, prob: float = 0.5, *, horizontal: bool = True, vertical: bool = False) -> None:
        if horizontal and vertical:
            raise ValueError("Cannot do both horiz and vert. Please use two Flip instead.")
        if not horizontal and not vertical:
            raise ValueError("At least one of horiz or vert has to be True!")
        self.prob, self.horizontal, self.vertical = prob, horizontal, vertical

    def get_transform(self, image: _Array) -> Transform:
        """The change that is drawn."""
        height, width = image.shape[:2]
        if self._rand_range() >= self.prob:
            return NoOpTransform()
        return HFlipTransform(width) if self.horizontal else VFlipTransform(height)


class FixedSizeCrop(Augmentation):
    """Random crop of a fixed size; smaller images are padded.

    Args:
        crop_size: (height, width) in pixels.
        pad: whether to pad smaller images.
        pad_value: value of padded pixels.
        seg_pad_value: label of padded pixels.
    """

    def __init__(
        self, crop_size: tuple[int, int], pad: bool = True, pad_value: float = 128.0, seg_pad_value: int = 255
    ) -> None:
        self.crop_size, self.pad = crop_size, pad
        self.pad_value, self.seg_pad_value = pad_value, seg_pad_value

    def get_transform(self, image: _Array) -> TransformList:
        """The change that is drawn."""
        size, target = np.asarray(image.shape[:2]), np.asarray(self.crop_size)
        most = np.maximum(size - target, 0)
        start = np.round(most * np.random.uniform(0.0, 1.0)).astype(int)
        retained = np.minimum(size, target)
        crop = CropTransform(start[1], start[0], target[1], target[0], size[1], size[0])
        if not self.pad:
            return TransformList([crop])
        more = np.maximum(target - size, 0)
        pad = PadTransform(0, 0, more[1], more[0], retained[1], retained[0], self.pad_value, self.seg_pad_value)
        return TransformList([crop, pad])


class RandomCrop(Augmentation):
    """Random crop.

    Args:
        crop_type: "relative": fractions of height and width; "relative_range": fractions from these to 1;
            "absolute": pixels; "absolute_range": pixels from the first to the second.
        crop_size: two numbers, in the unit of `crop_type`.
    """

    def __init__(self, crop_type: str, crop_size: Sequence[float]) -> None:
        kinds = ("relative_range", "relative", "absolute", "absolute_range")
        if crop_type not in kinds:
            raise ValueError(f"Unknown crop type {crop_type}; there are {', '.join(kinds)}")
        self.crop_type, self.crop_size = crop_type, crop_size

    def get_transform(self, image: _Array) -> Transform:
        """The change that is drawn."""
        height, width = image.shape[:2]
        crop_h, crop_w = self.get_crop_size((height, width))
        assert height >= crop_h, f"Shape computation in {self} has bugs."
        assert width >= crop_w, f"Shape computation in {self} has bugs."
        y0 = np.random.randint(height - crop_h + 1)
        x0 = np.random.randint(width - crop_w + 1)
        return CropTransform(x0, y0, crop_w, crop_h)

    def get_crop_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the part of an image of `image_size`."""
        height, width = image_size
        if self.crop_type.startswith("relative"):
            share: _Array = np.asarray(self.crop_size, dtype=np.float32)
            if self.crop_type == "relative_range":
                share = share + np.random.rand(2) * (1 - share)
            return int(height * share[0] + 0.5), int(width * share[1] + 0.5)
        first, second = (int(each) for each in self.crop_size)
        if self.crop_type == "absolute":
            return min(first, height), min(second, width)
        assert first <= second
        crop_h = np.random.randint(min(height, first), min(height, second) + 1)
        crop_w = np.random.randint(min(width, first), min(width, second) + 1)
        return crop_h, crop_w


class RandomCrop_CategoryAreaConstraint(Augmentation):  # noqa: N801 (its published name)
    """`RandomCrop`, resampled up to ten times until no class covers more than a fraction of it.

    Args:
        crop_type: unit of the size: "relative", "relative_range", "absolute" or "absolute_range" (`RandomCrop`).
        crop_size: two numbers, in the unit of `crop_type`.
        single_category_max_area: maximum fraction of the crop that one class may cover, in (0, 1].
        ignored_category: label that is not counted; None for no such label.
    """

    def __init__(
        self,
        crop_type: str,
        crop_size: Sequence[float],
        single_category_max_area: float = 1.0,
        ignored_category: int | None = None,
    ) -> None:
        self.crop_type, self.crop_size = crop_type, crop_size
        self.crop_aug = RandomCrop(crop_type, crop_size)
        self.single_category_max_area, self.ignored_category = single_category_max_area, ignored_category

    def get_transform(self, image: _Array, sem_seg: _Array) -> Transform:
        """The change that is drawn."""
        if self.single_category_max_area >= 1.0:
            return self.crop_aug.get_transform(image)
        height, width = sem_seg.shape
        for _ in range(10):
            crop_h, crop_w = self.crop_aug.get_crop_size((height, width))
            y0 = np.random.randint(height - crop_h + 1)
            x0 = np.random.randint(width - crop_w + 1)
            labels, counts = np.unique(sem_seg[y0 : y0 + crop_h, x0 : x0 + crop_w], return_counts=True)
            if self.ignored_category is not None:
                counts = counts[labels != self.ignored_category]
            if len(counts) > 1 and np.max(counts) < np.sum(counts) * self.single_category_max_area:
                break
        return CropTransform(x0, y0, crop_w, crop_h)


class RandomRotation(Augmentation):
    """Rotates by a random angle.

    Args:
        angle: angles in degrees: for "range" minimum and maximum, for "choice" all; one number for a fixed angle.
        expand: whether to enlarge the output so that it contains the whole rotated image.
        center: relative rotation centers: for "range" two corners, for "choice" all; None for the image center.
        sample_style: sampling of the values, "range" or "choice".
        interp: resampling filter of Pillow.
    """

    def __init__(
        self,
        angle: float | Sequence[float],
        expand: bool = True,
        center: Any = None,
        sample_style: Literal["range", "choice"] = "range",
        interp: int | None = None,
    ) -> None:
        assert sample_style in ("range", "choice"), sample_style
        self.is_range = sample_style == "range"
        self.angle: Sequence[float] = (angle, angle) if isinstance(angle, int | float) else angle
        single = center is not None and isinstance(center[0], int | float)
        self.center = (center, center) if single else center
        self.expand, self.sample_style, self.interp = expand, sample_style, interp

    def get_transform(self, image: _Array) -> Transform:
        """The change that is drawn."""
        height, width = image.shape[:2]
        center = None
        if self.is_range:
            angle = np.random.uniform(self.angle[0], self.angle[1])
            if self.center is not None:
                (x0, y0), (x1, y1) = self.center
                center = (np.random.uniform(x0, x1), np.random.uniform(y0, y1))
        else:
            angle = np.random.choice(self.angle)
            if self.center is not None:
                center = self.center[np.random.choice(len(self.center))]
        if center is not None:
            center = (width * center[0], height * center[1])
        if angle % 360 == 0:
            return NoOpTransform()
        return RotationTransform(height, width, angle, expand=self.expand, center=center, interp=self.interp)


class RandomExtent(Augmentation):
    """Crops a rectangle of random size and position, which may exceed the image.

    Args:
        scale_range: minimum and maximum size, as fractions of the image size.
        shift_range: maximum shifts of the center along x and y, as fractions of the image size.
    """

    def __init__(self, scale_range: tuple[float, float], shift_range: tuple[float, float]) -> None:
        self.scale_range, self.shift_range = scale_range, shift_range

    def get_transform(self, image: _Array) -> Transform:
        """The change that is drawn."""
        height, width = image.shape[:2]
        scale = np.random.uniform(self.scale_range[0], self.scale_range[1])
        rect = np.array([-0.5 * width, -0.5 * height, 0.5 * width, 0.5 * height]) * scale
        rect[0::2] += self.shift_range[0] * width * (np.random.rand() - 0.5) + 0.5 * width
        rect[1::2] += self.shift_range[1] * height * (np.random.rand() - 0.5) + 0.5 * height
        size = (int(rect[3] - rect[1]), int(rect[2] - rect[0]))
        return ExtentTransform(tuple(float(each) for each in rect), size)


class _Intensity(Augmentation):
    """A factor drawn from a range; 1 changes nothing."""

    def __init__(self, intensity_min: float, intensity_max: float) -> None:
        self.intensity_min, self.intensity_max = intensity_min, intensity_max

    def _blend(self, source: Any) -> BlendTransform:
        weight = np.random.uniform(self.intensity_min, self.intensity_max)
        return BlendTransform(src_image=source, src_weight=1 - weight, dst_weight=weight)


class RandomContrast(_Intensity):
    """Stretches values around the mean of the image."""

    def get_transform(self, image: _Array) -> Transform:
        """The change that is drawn."""
        return self._blend(image.mean())


class RandomBrightness(_Intensity):
    """Multiplies values."""

    def get_transform(self, image: _Array) -> Transform:
        """The change that is drawn."""
        return self._blend(0)


class RandomSaturation(_Intensity):
    """Stretches colors around gray; of images with three channels, RGB."""

    def get_transform(self, image: _Array) -> Transform:
        """The change that is drawn."""
        assert image.shape[-1] == 3, "RandomSaturation only works on RGB images"
        return self._blend(image.dot([0.299, 0.587, 0.114])[:, :, np.newaxis])


class RandomLighting(Augmentation):
    """PCA color augmentation of RGB images, with ImageNet's components (Krizhevsky et al., "AlexNet", 2012).

    Args:
        scale: standard deviation of the weights of the principal components.
    """

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.eigen_vecs = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
        self.eigen_vals = np.array([0.2175, 0.0188, 0.0045])

    def get_transform(self, image: _Array) -> Transform:
        """The change that is drawn."""
        assert image.shape[-1] == 3, "RandomLighting only works on RGB images"
        weights = np.random.normal(scale=self.scale, size=3)
        color = self.eigen_vecs.dot(weights * self.eigen_vals)
        return BlendTransform(src_image=color, src_weight=1.0, dst_weight=1.0)


class MinIoURandomCrop(Augmentation):
    """Random crop with a minimum IoU with its objects, of which it contains a center (Liu et al., "SSD", 2016).

    Args:
        min_ious: minimum IoUs to sample from.
        min_crop_size: minimum height and width, as a fraction of those of the image.
        mode_trials: maximum number of IoUs to try.
        crop_trials: maximum number of crops to try per IoU.
    """

    def __init__(
        self,
        min_ious: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
        min_crop_size: float = 0.3,
        mode_trials: int = 1000,
        crop_trials: int = 50,
    ) -> None:
        self.min_ious, self.min_crop_size = min_ious, min_crop_size
        self.mode_trials, self.crop_trials = mode_trials, crop_trials
        self.sample_mode = (1, *min_ious, 0)

    def get_transform(self, image: _Array, boxes: _Array | None) -> Transform:
        """The change that is drawn."""
        if boxes is None:
            return NoOpTransform()
        height, width = image.shape[:2]
        for _ in range(self.mode_trials):
            mode = np.random.choice(self.sample_mode)
            if mode == 1:
                return NoOpTransform()
            for _ in range(self.crop_trials):
                new_w = np.random.uniform(self.min_crop_size * width, width)
                new_h = np.random.uniform(self.min_crop_size * height, height)
                if not 0.5 <= new_h / new_w <= 2:
                    continue
                left, top = np.random.uniform(width - new_w), np.random.uniform(height - new_h)
                patch = np.array((int(left), int(top), int(left + new_w), int(top + new_h)))
                if patch[2] == patch[0] or patch[3] == patch[1]:
                    continue
                overlaps = pairwise_iou(Boxes(patch.reshape(-1, 4)), Boxes(boxes.reshape(-1, 4))).reshape(-1)
                if len(overlaps) and overlaps.min() < mode:
                    continue
                middles = (boxes[:, :2] + boxes[:, 2:]) / 2
                if len(overlaps) and not ((middles > patch[:2]) & (middles < patch[2:])).all(axis=1).any():
                    continue
                return CropTransform(int(left), int(top), int(new_w), int(new_h))
        return NoOpTransform()
