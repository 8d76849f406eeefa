"""Random sizes, as in `detectron2.data.transforms.augmentation_impl`."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from fvcore.transforms.transform import NoOpTransform, Transform
from numpy.typing import NDArray
from PIL import Image

from det_detectron2.layer.data.transforms.augmentation import Augmentation
from det_detectron2.layer.data.transforms.transform import ResizeTransform

__all__ = ["RandomResize", "Resize", "ResizeScale", "ResizeShortestEdge"]


class Resize(Augmentation):
    """Resizes to a fixed size.

    Args:
        shape: (height, width) in pixels, or one number for both.
        interp: resampling filter of Pillow.
    """

    def __init__(self, shape: int | Sequence[int], interp: int = Image.Resampling.BILINEAR) -> None:
        self.shape = (shape, shape) if isinstance(shape, int) else tuple(shape)
        self.interp = interp

    def get_transform(self, image: NDArray[Any]) -> Transform:
        """The change."""
        return ResizeTransform(image.shape[0], image.shape[1], self.shape[0], self.shape[1], self.interp)


class RandomResize(Augmentation):
    """Resizes to a random size of a list.

    Args:
        shape_list: list of sizes (height, width) in pixels.
        interp: resampling filter of Pillow.
    """

    def __init__(self, shape_list: Sequence[tuple[int, int]], interp: int = Image.Resampling.BILINEAR) -> None:
        self.shape_list, self.interp = shape_list, interp

    def get_transform(self, image: NDArray[Any]) -> Transform:
        """The change that is drawn."""
        height, width = self.shape_list[np.random.choice(len(self.shape_list))]
        return ResizeTransform(image.shape[0], image.shape[1], height, width, self.interp)


class ResizeShortestEdge(Augmentation):
    """Resizes the shorter side to a length, keeping the longer one within a maximum.

    Args:
        short_edge_length: length in pixels; for "range" minimum and maximum, for "choice" a list.
        max_size: maximum length of the longer side in pixels.
        sample_style: sampling of the length, "range" or "choice".
        interp: resampling filter of Pillow.
    """

    def __init__(
        self,
        short_edge_length: int | Sequence[int],
        max_size: float = float("inf"),
        sample_style: Literal["range", "choice"] = "range",
        interp: int = Image.Resampling.BILINEAR,
    ) -> None:
        assert sample_style in ("range", "choice"), sample_style
        lengths = (short_edge_length,) * 2 if isinstance(short_edge_length, int) else tuple(short_edge_length)
        self.is_range = sample_style == "range"
        assert not self.is_range or len(lengths) == 2, f"short_edge_length must be two values for range, got {lengths}"
        self.short_edge_length, self.max_size, self.sample_style = lengths, max_size, sample_style
        self.interp = Image.Resampling.BILINEAR if interp is None else interp

    def get_transform(self, image: NDArray[Any]) -> Transform:
        """The change that is drawn."""
        height, width = image.shape[:2]
        if self.is_range:
            length = np.random.randint(self.short_edge_length[0], self.short_edge_length[1] + 1)
        else:
            length = np.random.choice(self.short_edge_length)
        if length == 0:
            return NoOpTransform()
        new = ResizeShortestEdge.get_output_shape(height, width, int(length), self.max_size)
        return ResizeTransform(height, width, new[0], new[1], self.interp)

    @staticmethod
    def get_output_shape(oldh: int, oldw: int, short_edge_length: int, max_size: float) -> tuple[int, int]:
        """(height, width) of an image of (oldh, oldw)."""
        scale = float(short_edge_length) / min(oldh, oldw)
        if oldh < oldw:
            height, width = float(short_edge_length), scale * oldw
        else:
            height, width = scale * oldh, float(short_edge_length)
        if max(height, width) > max_size:
            again = max_size * 1.0 / max(height, width)
            height, width = height * again, width * again
        return int(height + 0.5), int(width + 0.5)


class ResizeScale(Augmentation):
    """Fits an image into a target size times a random factor (Ghiasi et al., "Simple copy-paste", 2021).

    Args:
        min_scale: minimum scale factor.
        max_scale: maximum scale factor.
        target_height: target height in pixels.
        target_width: target width in pixels.
        interp: resampling filter of Pillow.
    """

    def __init__(
        self,
        min_scale: float,
        max_scale: float,
        target_height: int,
        target_width: int,
        interp: int = Image.Resampling.BILINEAR,
    ) -> None:
        self.min_scale, self.max_scale = min_scale, max_scale
        self.target_height, self.target_width, self.interp = target_height, target_width, interp

    def get_transform(self, image: NDArray[Any]) -> Transform:
        """The change that is drawn."""
        factor = np.random.uniform(self.min_scale, self.max_scale)
        height, width = image.shape[:2]
        ratio = min(self.target_height * factor / height, self.target_width * factor / width)
        new_h, new_w = (int(each) for each in np.round(np.multiply((height, width), ratio)))
        return ResizeTransform(height, width, new_h, new_w, self.interp)
