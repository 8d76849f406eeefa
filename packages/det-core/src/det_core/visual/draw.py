"""Boxes, masks, keypoints, names and scores drawn on images with Pillow."""

import colorsys
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import to_pil_image

from det_core.ops import rotated
from det_core.ops.masks import in_image
from det_core.structures import Detections, MaskGrids, Polygons, Targets
from det_core.zoo.class_names import short_name

__all__ = ["class_color", "draw", "font", "name_of", "to_pil"]

Color = tuple[int, int, int]
_Rectangle = tuple[float, float, float, float]

# Far apart in hue and lightness, also for most color-blind readers: the first classes are the most frequent ones.
_FIRST_COLORS: tuple[Color, ...] = (
    (230, 60, 50),
    (40, 110, 235),
    (250, 180, 20),
    (30, 160, 90),
    (175, 70, 215),
    (20, 190, 205),
    (245, 120, 30),
    (235, 90, 160),
    (130, 185, 40),
    (125, 90, 60),
)
_GOLDEN_RATIO = 0.618034
_AVOIDED = 500
"""How many labels others make room for."""
_TINT = 0.4
"""How much of the color of its class a mask has, beside the image."""
_VISIBLE = 0.05
"""Keypoints of a lower score, and those that are not labelled, are left out."""


def class_color(label: int) -> Color:
    """The RGB color of a class, always the same one; neighboring classes differ clearly."""
    if label < len(_FIRST_COLORS):
        return _FIRST_COLORS[label]
    lightness = (0.42, 0.55, 0.68)[label % 3]
    r, g, b = colorsys.hls_to_rgb(label * _GOLDEN_RATIO % 1.0, lightness, 0.75)
    return round(r * 255), round(g * 255), round(b * 255)


def draw(
    image: Tensor | Image.Image,
    objects: Detections | Targets,
    classes: Sequence[str] = (),
    write: bool = True,
    line_width: int | None = None,
) -> Image.Image:
    """A copy of `image` with the box, the mask, the keypoints, the name and the score of each object that has them.

    Lines and letters grow with the image; each line has a dark rim, so that it shows on any background. Where masks
    overlap, that of the first object is on top, which is the best of detections.

    Args:
        image: uint8 RGB (3, H, W), or a PIL image.
        objects: objects to draw, in pixels of `image`; boxes (N, 4), or (N, 5) rotated.
        classes: the name of each label; a label without a name is drawn as its number.
        write: False leaves out names and scores, which cover what is small.
        line_width: line width in pixels; None: by the size of the image.
    """
    picture = to_pil(image)
    unit = min(picture.size)
    width = line_width or max(1, round(unit / 240))
    if objects.masks is not None:
        picture = _with_masks(picture, objects.masks, objects, width)
    canvas = ImageDraw.Draw(picture, "RGBA")
    labels = objects.labels.tolist()
    polygons = [_corners_of(box) for box in objects.boxes.detach().cpu()]
    for polygon, label in zip(polygons, labels, strict=True):
        closed = [*polygon, polygon[0], polygon[1]]
        canvas.line(closed, fill=(0, 0, 0, 130), width=width + 2, joint="curve")
        canvas.line(closed, fill=class_color(label), width=width, joint="curve")
    if objects.keypoints is not None:
        for points, label in zip(objects.keypoints.tolist(), labels, strict=True):
            for x, y, visibility in points:
                if visibility >= _VISIBLE:
                    canvas.circle((x, y), 2 * width, fill=class_color(label), outline=(0, 0, 0, 130))
    if not write:
        return picture
    letters = font(max(9, round(unit / 38)))
    plates_used: list[_Rectangle] = []
    for polygon, label, text in zip(polygons, labels, _texts(objects, classes), strict=True):
        _write_label(canvas, _bounds(polygon), text, class_color(label), letters, picture.size, plates_used)
    return picture


def to_pil(image: Tensor | Image.Image) -> Image.Image:
    """A copy as RGB."""
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    return to_pil_image(image.detach().cpu())


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Letters of this height in pixels."""
    return ImageFont.load_default(size=size)


def _with_masks(
    picture: Image.Image, masks: Tensor | Polygons | MaskGrids, objects: Detections | Targets, width: int
) -> Image.Image:
    """The picture tinted where masks are, with a line of this width along the rim of each."""
    pixels = torch.from_numpy(np.array(picture))
    free = torch.ones(pixels.shape[:2], dtype=torch.bool)
    labels = iter(objects.labels.tolist())
    for some in in_image(masks, objects.boxes, (picture.height, picture.width)):
        for mask, label in zip(some.cpu(), labels, strict=False):
            if (window := _window(mask, width)) is None:
                continue
            mask, crop, shade = mask[window], pixels[window], torch.tensor(class_color(label))
            visible = mask & free[window]
            free[window] &= ~mask
            near = F.max_pool2d((~mask)[None].float(), 2 * width + 1, stride=1, padding=width)[0] > 0
            crop[visible] = ((1 - _TINT) * crop[visible] + _TINT * shade).round().to(torch.uint8)
            crop[visible & near] = shade.to(torch.uint8)
    return Image.fromarray(pixels.numpy())


def _window(mask: Tensor, margin: int) -> tuple[slice, ...] | None:
    """The rows and columns that a mask (H, W) has pixels in, with a margin; None if it has none."""
    there = mask.numpy()
    rows, columns = (np.flatnonzero(there.any(axis)).tolist() for axis in (1, 0))
    if not rows:
        return None
    down, across = ((ends[0], ends[-1]) for ends in (rows, columns))
    return tuple(slice(max(first - margin, 0), last + margin + 1) for first, last in (down, across))


def _corners_of(box: Tensor) -> list[float]:
    """The corners of an upright or rotated box as x0, y0, x1, y1, ..."""
    if len(box) == 4:
        x0, y0, x1, y1 = box.tolist()
        return [x0, y0, x1, y0, x1, y1, x0, y1]
    return rotated.corners(box).flatten().tolist()


def _bounds(polygon: Sequence[float]) -> _Rectangle:
    xs, ys = polygon[0::2], polygon[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def name_of(label: int, classes: Sequence[str]) -> str:
    """The name of a label, shortened, its number where it has none."""
    return short_name(classes[label]) if 0 <= label < len(classes) else str(label)


def _texts(objects: Detections | Targets, classes: Sequence[str]) -> list[str]:
    names = [name_of(label, classes) for label in objects.labels.tolist()]
    if isinstance(objects, Targets):
        return names
    return [f"{name} {score:.2f}" for name, score in zip(names, objects.scores.tolist(), strict=True)]


def _write_label(
    canvas: ImageDraw.ImageDraw,
    box: _Rectangle,
    text: str,
    background: Color,
    letters: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
    plates_used: list[_Rectangle],
) -> None:
    """Write `text` on a plate at a corner of `box`: inside the image and, where there is room, on no other label."""
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=letters)
    pad = max(1.0, (bottom - top) / 5)
    w, h = right - left + 2 * pad, bottom - top + 2 * pad
    x0, y0, x1, y1 = box
    corners = [(x0, y0 - h), (x0, y0), (x1 - w, y0 - h), (x0, y1 - h), (x0, y1), (x1 - w, y1 - h)]
    plates = []
    for x, y in corners:
        x, y = max(0.0, min(x, size[0] - w)), max(0.0, min(y, size[1] - h))
        plates.append((x, y, x + w, y + h))
    plate = plates[_freest(plates, plates_used)]
    plates_used.append(plate)
    canvas.rectangle(plate, fill=(*background, 225))
    canvas.text((plate[0] + pad - left, plate[1] + pad - top), text, font=letters, fill=_readable_on(background))


def _freest(plates: Sequence[_Rectangle], plates_used: Sequence[_Rectangle]) -> int:
    """Index of the plate with the smallest overlap with other plates; 0 if there are too many to avoid overlaps."""
    if not plates_used or len(plates_used) > _AVOIDED:
        return 0
    a, b = np.array(plates)[:, None], np.array(plates_used)
    sides = np.minimum(a[..., 2:], b[:, 2:]) - np.maximum(a[..., :2], b[:, :2])
    return int(sides.clip(0).prod(-1).sum(-1).argmin())


def _readable_on(background: Color) -> Color:
    """Black on light colors, white on dark ones (luma weights of ITU-R BT.601)."""
    r, g, b = background
    return (0, 0, 0) if 0.299 * r + 0.587 * g + 0.114 * b > 140 else (255, 255, 255)
