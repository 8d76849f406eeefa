"""Lines, boxes, text and masks on a picture, by Pillow, for `Visualizer`."""

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from det_core.visual.draw import font
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw
from pycocotools import mask as coco_mask

__all__ = ["Primitives", "rgb"]

_SHORT = {"r": "red", "g": "green", "b": "blue", "k": "black", "w": "white", "y": "yellow", "c": "cyan", "m": "magenta"}


def rgb(color: Any) -> tuple[int, int, int]:
    """A name such as "red" or "g", or three numbers in [0, 1], as RGB values in 0 to 255; None for a random color."""
    if color is None:
        return tuple(int(255 * each) for each in colorsys.hsv_to_rgb(np.random.rand(), 0.8, 0.9))  # type: ignore[return-value]
    if isinstance(color, str):
        return ImageColor.getrgb(_SHORT.get(color, color))[:3]
    red, green, blue = (float(each) for each in color[:3])
    return round(red * 255), round(green * 255), round(blue * 255)


class Primitives:
    """Draws on `_picture`, whose pixels are `_scale` times those of the image."""

    _picture: Image.Image
    _scale: float
    output: Any

    def _render(self, picture: Image.Image) -> Any:
        raise NotImplementedError

    def _pen(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        picture = self._picture.convert("RGB").copy()
        return picture, ImageDraw.Draw(picture)

    def draw_text(
        self,
        text: str,
        position: Sequence[float],
        *,
        font_size: float | None = None,
        color: Any = "g",
        horizontal_alignment: str = "center",
        rotation: float = 0,
    ) -> Any:
        """Write at (x, y) of the image: the top, and the middle, left or right."""
        picture, pen = self._pen()
        size = max(int(font_size or max(picture.height // 40, 10)), 8)
        anchor = {"center": "ma", "left": "la", "right": "ra"}[horizontal_alignment]
        place = (position[0] * self._scale, position[1] * self._scale)
        pen.text(place, text, fill=rgb(color), font=font(size), anchor=anchor, stroke_width=1, stroke_fill=(0, 0, 0))
        return self._render(picture)

    def draw_box(
        self, box_coord: Sequence[float], alpha: float = 0.5, edge_color: Any = "g", line_style: str = "-"
    ) -> Any:
        """A box (x0, y0, x1, y1)."""
        x0, y0, x1, y1 = (float(each) for each in box_coord)
        return self._line([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], edge_color)

    def draw_rotated_box_with_label(
        self,
        rotated_box: Sequence[float],
        alpha: float = 0.5,
        edge_color: Any = "g",
        line_style: str = "-",
        label: str | None = None,
    ) -> Any:
        """A box (cx, cy, w, h, angle in degrees, counter-clockwise), with a text."""
        x, y, w, h, angle = (float(each) for each in rotated_box)
        cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        corners = [(-w / 2, -h / 2), (-w / 2, h / 2), (w / 2, h / 2), (w / 2, -h / 2)]
        points = [(x + sin * b + cos * a, y + cos * b - sin * a) for a, b in corners]
        self._line([*points, points[0]], edge_color)
        return self.output if label is None else self.draw_text(label, points[1], color=edge_color)

    def draw_circle(self, circle_coord: Sequence[float], color: Any, radius: float = 3) -> Any:
        """A dot at (x, y) of the image."""
        picture, pen = self._pen()
        x, y = circle_coord[0] * self._scale, circle_coord[1] * self._scale
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=rgb(color))
        return self._render(picture)

    def draw_line(
        self,
        x_data: Sequence[float],
        y_data: Sequence[float],
        color: Any,
        linestyle: str = "-",
        linewidth: float | None = None,
    ) -> Any:
        """A line through points of the image."""
        return self._line(list(zip(x_data, y_data, strict=True)), color, linewidth)

    def _line(self, points: Sequence[tuple[float, float]], color: Any, width: float | None = None) -> Any:
        picture, pen = self._pen()
        scaled = [(x * self._scale, y * self._scale) for x, y in points]
        thick = max(round(width if width is not None else max(picture.size) / 300), 1)
        pen.line(scaled, fill=rgb(color), width=thick, joint="curve")
        return self._render(picture)

    def draw_polygon(self, segment: Any, color: Any, edge_color: Any = None, alpha: float = 0.5) -> Any:
        """A filled polygon (K, 2), x and y."""
        points = [(float(x) * self._scale, float(y) * self._scale) for x, y in np.asarray(segment).reshape(-1, 2)]
        picture = self._picture.convert("RGB")
        cover = Image.new("L", picture.size)
        ImageDraw.Draw(cover).polygon(points, fill=round(255 * alpha))
        picture.paste(Image.new("RGB", picture.size, rgb(color)), mask=cover)
        ImageDraw.Draw(picture).polygon(points, outline=rgb(edge_color or color))
        return self._render(picture)

    def draw_binary_mask(
        self,
        binary_mask: Any,
        color: Any = None,
        *,
        edge_color: Any = None,
        text: str | None = None,
        alpha: float = 0.5,
        area_threshold: int = 10,
    ) -> Any:
        """A mask (H, W), with a text in its middle, unless it has fewer pixels than `area_threshold`."""
        mask = np.asarray(binary_mask).astype(bool)
        if mask.sum() >= (area_threshold or 0):
            self.draw_soft_mask(mask.astype(np.float32), rgb_values(color), alpha=alpha)
            if text is not None:
                rows, columns = np.nonzero(mask)
                self.draw_text(text, (float(np.median(columns)), float(np.median(rows))), color="w")
        return self.output

    def draw_soft_mask(self, soft_mask: Any, color: Any = None, *, text: str | None = None, alpha: float = 0.5) -> Any:
        """A mask (H, W) of values in [0, 1]."""
        values = np.asarray(soft_mask, dtype=np.float32).clip(0, 1)
        picture = self._picture.convert("RGB")
        cover = Image.fromarray((values * alpha * 255).round().astype(np.uint8)).resize(
            picture.size, Image.Resampling.NEAREST
        )
        picture.paste(Image.new("RGB", picture.size, rgb(color)), mask=cover)
        self._render(picture)
        if text is not None and (values > 0.5).any():
            rows, columns = np.nonzero(values > 0.5)
            self.draw_text(text, (float(np.median(columns)), float(np.median(rows))), color="w")
        return self.output


def rgb_values(color: Any) -> Any:
    """A color; a random one is sampled once."""
    return tuple(each / 255 for each in rgb(color))


class GenericMask:
    """A mask as pixels and as polygons.

    Args:
        mask_or_polygons: bool mask (H, W), COCO RLE, or a list of polygons x0, y0, x1, y1, ...
        height: height of the image in pixels.
        width: width of the image in pixels.
    """

    def __init__(self, mask_or_polygons: Any, height: int, width: int) -> None:
        from det_detectron2.layer.structures import polygons_to_bitmask

        self.height, self.width = height, width
        source = mask_or_polygons
        self.polygons: list[NDArray[Any]] | None = None
        if isinstance(source, dict):
            rle = coco_mask.frPyObjects(source, height, width) if isinstance(source["counts"], list) else source
            self.mask = coco_mask.decode(rle)
        elif isinstance(source, list):
            self.polygons = [np.asarray(each).reshape(-1) for each in source]
            self.mask = polygons_to_bitmask(self.polygons, height, width).astype("uint8")
        else:
            self.mask = np.asarray(source.cpu() if isinstance(source, torch.Tensor) else source).astype("uint8")
            assert self.mask.shape == (height, width), f"mask shape: {self.mask.shape}, target {height, width}"

    def area(self) -> int:
        """In pixels."""
        return int(self.mask.sum())

    def bbox(self) -> NDArray[Any]:
        """x0, y0, x1, y1 around it."""
        x, y, w, h = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(self.mask)))
        return np.array([x, y, x + w, y + h])
