"""Changes that are not random, beside those of fvcore, as `detectron2.data.transforms.transform`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from fvcore.transforms.transform import CropTransform, HFlipTransform, NoOpTransform, Transform, TransformList
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

__all__ = ["ColorTransform", "ExtentTransform", "PILColorTransform", "ResizeTransform", "RotationTransform"]

_Array = NDArray[Any]


def _by_pillow(image: _Array, change: Callable[[Image.Image], Image.Image]) -> _Array:
    """What Pillow makes of an image (H, W) or (H, W, C); floats channel by channel."""
    if image.dtype == np.uint8 and (image.ndim == 2 or image.shape[2] == 3):
        return np.asarray(change(Image.fromarray(np.ascontiguousarray(image))))
    planes = image[:, :, None] if image.ndim == 2 else image
    retained = planes if image.dtype == np.uint8 else planes.astype(np.float32)
    done = [
        np.asarray(change(Image.fromarray(np.ascontiguousarray(retained[:, :, i])))) for i in range(retained.shape[2])
    ]
    out = np.stack(done, axis=2).astype(image.dtype)
    return out[:, :, 0] if image.ndim == 2 else out


class ExtentTransform(Transform):  # type: ignore[misc,unused-ignore]
    """Crops a rectangle, which may exceed the image, and resizes it.

    Args:
        src_rect: source rectangle (x0, y0, x1, y1) in pixels.
        output_size: output (height, width) in pixels.
        interp: resampling filter of Pillow.
        fill: value of pixels outside of the image.
    """

    def __init__(
        self,
        src_rect: Sequence[float],
        output_size: tuple[int, int],
        interp: int = Image.Resampling.BILINEAR,
        fill: float = 0,
    ) -> None:
        super().__init__()
        self.src_rect, self.output_size, self.interp, self.fill = src_rect, output_size, interp, fill

    def apply_image(self, img: _Array, interp: int | None = None) -> _Array:
        """(H, W) or (H, W, C) to the output's size."""
        height, width = self.output_size
        method = self.interp if interp is None else interp

        def change(image: Image.Image) -> Image.Image:
            fill: Any = self.fill if image.mode != "RGB" else (int(self.fill),) * 3
            return image.transform(
                (width, height),
                Image.Transform.EXTENT,
                data=tuple(self.src_rect),
                resample=Image.Resampling(method),
                fillcolor=fill,
            )

        return _by_pillow(img, change)

    def apply_coords(self, coords: _Array) -> _Array:
        """Points (N, 2), x and y."""
        height, width = self.output_size
        x0, y0, x1, y1 = self.src_rect
        moved = coords.astype("float32")
        moved[:, 0] = (moved[:, 0] - x0) * width / (x1 - x0)
        moved[:, 1] = (moved[:, 1] - y0) * height / (y1 - y0)
        return moved

    def apply_segmentation(self, segmentation: _Array) -> _Array:
        """Labels (H, W), by the nearest pixel."""
        return self.apply_image(segmentation, interp=Image.Resampling.NEAREST)


class ResizeTransform(Transform):  # type: ignore[misc,unused-ignore]
    """Resizes an image.

    Args:
        h: input height in pixels.
        w: input width in pixels.
        new_h: output height in pixels.
        new_w: output width in pixels.
        interp: resampling filter of Pillow; bilinear by default.
    """

    def __init__(self, h: int, w: int, new_h: int, new_w: int, interp: int | None = None) -> None:
        super().__init__()
        self.h, self.w, self.new_h, self.new_w = h, w, new_h, new_w
        self.interp = Image.Resampling.BILINEAR if interp is None else interp

    def apply_image(self, img: _Array, interp: int | None = None) -> _Array:
        """(H, W) or (H, W, C) at the new size.

        Colors, uint8 (H, W, 3), are interpolated as det's `ResizeShortestEdge` does, which differs from Pillow by at
        most one level; other uint8 arrays are resized by Pillow, and others by torch without antialiasing.
        """
        assert img.shape[:2] == (self.h, self.w), f"{img.shape[:2]} is not the size before, {(self.h, self.w)}"
        assert img.ndim <= 4
        method = Image.Resampling(self.interp if interp is None else interp)
        if img.dtype == np.uint8:
            if img.ndim == 3 and img.shape[2] == 1:
                return self.apply_image(img[:, :, 0], interp)[:, :, None]
            if img.ndim == 3 and img.shape[2] == 3 and method == Image.Resampling.BILINEAR:
                from torchvision.transforms.v2 import functional

                colors = torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1)))
                resized = functional.resize(colors, [self.new_h, self.new_w], antialias=True)
                return np.ascontiguousarray(resized.permute(1, 2, 0).numpy())
            return _by_pillow(img, lambda image: image.resize((self.new_w, self.new_h), method))
        planes = img if img.ndim == 3 else img[:, :, None]
        if any(stride < 0 for stride in planes.strides):
            planes = np.ascontiguousarray(planes)
        values = torch.from_numpy(planes).permute(2, 0, 1)[None]
        mode = {Image.Resampling.NEAREST: "nearest", Image.Resampling.BICUBIC: "bicubic"}.get(method, "bilinear")
        corners = None if mode == "nearest" else False
        out = F.interpolate(values, (self.new_h, self.new_w), mode=mode, align_corners=corners)[0].permute(1, 2, 0)
        done: _Array = out.numpy()
        return done if img.ndim == 3 else done[:, :, 0]

    def apply_coords(self, coords: _Array) -> _Array:
        """Points (N, 2), x and y; in place, in their own type."""
        coords[:, 0] = coords[:, 0] * (self.new_w / self.w)
        coords[:, 1] = coords[:, 1] * (self.new_h / self.h)
        return coords

    def apply_box(self, box: _Array) -> _Array:
        """Boxes (N, 4), x0, y0, x1, y1; in float32, with the rounding of det's transform."""
        factors = np.array([self.new_w / self.w, self.new_h / self.h] * 2, np.float32)
        scaled: _Array = np.asarray(box, np.float32).reshape(-1, 4) * factors
        return scaled

    def apply_segmentation(self, segmentation: _Array) -> _Array:
        """Labels (H, W), by the nearest pixel."""
        return self.apply_image(segmentation, interp=Image.Resampling.NEAREST)

    def inverse(self) -> "ResizeTransform":
        """The way back."""
        return ResizeTransform(self.new_h, self.new_w, self.h, self.w, self.interp)


class RotationTransform(Transform):  # type: ignore[misc,unused-ignore]
    """Rotates an image counter-clockwise around a point.

    Args:
        h: input height in pixels.
        w: input width in pixels.
        angle: angle in degrees, counter-clockwise.
        expand: whether to enlarge the output to contain the whole image, rotated around its center.
        center: rotation center (x, y) in pixels; None for the image center.
        interp: resampling filter of Pillow; bilinear by default.
    """

    def __init__(
        self,
        h: int,
        w: int,
        angle: float,
        expand: bool = True,
        center: Sequence[float] | None = None,
        interp: int | None = None,
    ) -> None:
        super().__init__()
        self.h, self.w, self.angle, self.expand, self.interp = h, w, angle, expand, interp
        middle = np.array((w / 2, h / 2))
        self.center = middle if center is None or expand else np.asarray(center, dtype=float)
        radians = np.deg2rad(angle)
        cos, sin = np.cos(radians), np.sin(radians)
        self.bound_w, self.bound_h = w, h
        shift = self.center
        if expand:
            sides = np.array([h * abs(sin) + w * abs(cos), h * abs(cos) + w * abs(sin)])
            self.bound_w, self.bound_h = (int(each) for each in np.rint(sides))
            shift = np.array((self.bound_w / 2, self.bound_h / 2))
        turn = np.array([[cos, sin], [-sin, cos]])
        self.rm_coords = np.concatenate((turn, (shift - turn @ self.center)[:, None]), axis=1)
        back = turn.T
        self._source = np.concatenate((back, (self.center - back @ shift)[:, None]), axis=1)

    def apply_image(self, img: _Array, interp: int | None = None) -> _Array:
        """(H, W) or (H, W, C), turned; what was outside is 0."""
        if len(img) == 0 or self.angle % 360 == 0:
            return img
        assert img.shape[:2] == (self.h, self.w)
        method = interp if interp is not None else self.interp
        method = Image.Resampling.BILINEAR if method is None else method
        return _by_pillow(
            img,
            lambda image: image.transform(
                (self.bound_w, self.bound_h),
                Image.Transform.AFFINE,
                data=tuple(self._source.flatten()),
                resample=Image.Resampling(method),
            ),
        )

    def apply_coords(self, coords: _Array) -> _Array:
        """Points (N, 2), x and y."""
        points = np.asarray(coords, dtype=float)
        if len(points) == 0 or self.angle % 360 == 0:
            return points
        turned: _Array = points @ self.rm_coords[:, :2].T + self.rm_coords[:, 2]
        return turned

    def apply_segmentation(self, segmentation: _Array) -> _Array:
        """Labels (H, W), by the nearest pixel."""
        return self.apply_image(segmentation, interp=Image.Resampling.NEAREST)

    def inverse(self) -> Transform:
        """The way back, for those that grow."""
        if not self.expand:
            raise NotImplementedError("what left the image cannot be brought back: use expand=True")
        back = RotationTransform(self.bound_h, self.bound_w, -self.angle, True, None, self.interp)
        x0, y0 = (back.bound_w - self.w) // 2, (back.bound_h - self.h) // 2
        crop = CropTransform(x0, y0, self.w, self.h, back.bound_w, back.bound_h)
        return TransformList([back, crop])


class ColorTransform(Transform):  # type: ignore[misc,unused-ignore]
    """Transforms pixel values only.

    Args:
        op: function from an image to an image of the same shape.
    """

    def __init__(self, op: Callable[[Any], Any]) -> None:
        if not callable(op):
            raise ValueError("op parameter should be callable")
        super().__init__()
        self.op = op

    def apply_image(self, img: _Array) -> _Array:
        """What the function makes of it."""
        changed: _Array = self.op(img)
        return changed

    def apply_coords(self, coords: _Array) -> _Array:
        """As they are."""
        return coords

    def apply_segmentation(self, segmentation: _Array) -> _Array:
        """As they are."""
        return segmentation

    def inverse(self) -> Transform:
        """Of boxes and points: nothing."""
        return NoOpTransform()


class PILColorTransform(ColorTransform):
    """`ColorTransform` with a function of Pillow's images."""

    def apply_image(self, img: _Array) -> _Array:
        """What the function makes of it."""
        return np.asarray(self.op(Image.fromarray(img)))


def _flip_rotated(transform: HFlipTransform, boxes: _Array) -> _Array:
    boxes[:, 0] = transform.width - boxes[:, 0]
    boxes[:, 4] = -boxes[:, 4]
    return boxes


def _resize_rotated(transform: ResizeTransform, boxes: _Array) -> _Array:
    """Boxes (N, 5); where the sides are stretched by different factors, the sides and angles are those of the axes."""
    x_factor, y_factor = transform.new_w / transform.w, transform.new_h / transform.h
    cos, sin = np.cos(np.deg2rad(boxes[:, 4])), np.sin(np.deg2rad(boxes[:, 4]))
    boxes[:, 0] *= x_factor
    boxes[:, 1] *= y_factor
    boxes[:, 2] *= np.hypot(x_factor * cos, y_factor * sin)
    boxes[:, 3] *= np.hypot(x_factor * sin, y_factor * cos)
    boxes[:, 4] = np.rad2deg(np.arctan2(x_factor * sin, y_factor * cos))
    return boxes


HFlipTransform.register_type("rotated_box", _flip_rotated)
ResizeTransform.register_type("rotated_box", _resize_rotated)
NoOpTransform.register_type("rotated_box", lambda transform, boxes: boxes)
