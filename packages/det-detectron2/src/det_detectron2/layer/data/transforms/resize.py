"""Resizing, as `detectron2.data.transforms`."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

__all__ = ["ResizeShortestEdge", "ResizeTransform"]


class ResizeTransform:
    """Brings an image from one size to another.

    Args:
        h: height before.
        w: width before.
        new_h: height after.
        new_w: width after.
        interp: Pillow's filter; bilinear by default.
    """

    def __init__(self, h: int, w: int, new_h: int, new_w: int, interp: int | None = None) -> None:
        self.h, self.w, self.new_h, self.new_w = h, w, new_h, new_w
        self.interp = Image.Resampling.BILINEAR if interp is None else interp

    def apply_image(self, img: NDArray[Any], interp: int | None = None) -> NDArray[Any]:
        """(H, W) or (H, W, C) at the new size; uint8 by Pillow, others by torch without antialiasing."""
        assert img.shape[:2] == (self.h, self.w)
        method = self.interp if interp is None else interp
        if img.dtype == np.uint8:
            gray = img.ndim == 3 and img.shape[2] == 1
            picture = Image.fromarray(np.ascontiguousarray(img[:, :, 0] if gray else img))
            resized = np.asarray(picture.resize((self.new_w, self.new_h), method))
            return resized[:, :, None] if gray else resized
        values = torch.from_numpy(np.ascontiguousarray(img if img.ndim == 3 else img[:, :, None])).permute(2, 0, 1)[
            None
        ]
        modes = {Image.Resampling.NEAREST: "nearest", Image.Resampling.BICUBIC: "bicubic"}
        mode = modes.get(Image.Resampling(method), "bilinear")
        corners = None if mode == "nearest" else False
        out = F.interpolate(values, (self.new_h, self.new_w), mode=mode, align_corners=corners)[0].permute(1, 2, 0)
        return out.numpy() if img.ndim == 3 else out[:, :, 0].numpy()

    def apply_coords(self, coords: NDArray[Any]) -> NDArray[Any]:
        """Points (N, 2), x and y."""
        return coords * np.array([self.new_w / self.w, self.new_h / self.h])

    def apply_box(self, box: NDArray[Any]) -> NDArray[Any]:
        """Boxes (N, 4), x0, y0, x1, y1."""
        return self.apply_coords(np.asarray(box, dtype=np.float64).reshape(-1, 2)).reshape(-1, 4)

    def apply_segmentation(self, segmentation: NDArray[Any]) -> NDArray[Any]:
        """Labels (H, W), by the nearest pixel."""
        return self.apply_image(segmentation, Image.Resampling.NEAREST)

    def inverse(self) -> "ResizeTransform":
        """The way back."""
        return ResizeTransform(self.new_h, self.new_w, self.h, self.w, self.interp)


class ResizeShortestEdge:
    """Brings the shorter side to a length, unless the longer one would exceed another.

    Args:
        short_edge_length: pixels: one number; for "range" the lowest and the highest, for "choice" all.
        max_size: most pixels of the longer side.
        sample_style: how the length is drawn.
        interp: Pillow's filter; bilinear by default.
    """

    def __init__(
        self,
        short_edge_length: int | Sequence[int],
        max_size: float = float("inf"),
        sample_style: Literal["range", "choice"] = "range",
        interp: int | None = None,
    ) -> None:
        assert sample_style in ("range", "choice"), sample_style
        lengths = (short_edge_length,) * 2 if isinstance(short_edge_length, int) else tuple(short_edge_length)
        self.is_range = sample_style == "range"
        assert not self.is_range or len(lengths) == 2, f"short_edge_length must be two values for range, got {lengths}"
        self.short_edge_length, self.max_size, self.interp = lengths, max_size, interp

    def get_transform(self, image: NDArray[Any]) -> ResizeTransform:
        """The transform of an image (H, W, C)."""
        height, width = image.shape[:2]
        low, *_, high = self.short_edge_length
        length = np.random.randint(low, high + 1) if self.is_range else np.random.choice(self.short_edge_length)
        if length == 0:
            return ResizeTransform(height, width, height, width, self.interp)
        new = self.get_output_shape(height, width, int(length), self.max_size)
        return ResizeTransform(height, width, *new, self.interp)

    @staticmethod
    def get_output_shape(oldh: int, oldw: int, short_edge_length: int, max_size: float) -> tuple[int, int]:
        """(height, width) of an image of (oldh, oldw)."""
        scale = short_edge_length / min(oldh, oldw)
        height, width = (short_edge_length, scale * oldw) if oldh < oldw else (scale * oldh, float(short_edge_length))
        if max(height, width) > max_size:
            again = max_size / max(height, width)
            height, width = height * again, width * again
        return int(height + 0.5), int(width + 0.5)
