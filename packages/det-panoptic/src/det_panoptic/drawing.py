"""Every pixel of an image in the color of its segment, with a legend."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from det_core.structures import PanopticMap, SemanticMap
from det_core.visual.draw import class_color, font, to_pil
from det_core.visual.segments import by_class, entries
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

__all__ = ["draw_segments"]

_TINT_STUFF, _TINT_THINGS = 0.45, 0.55
_PAPER, _INK = (255, 255, 255), (30, 30, 30)
_LISTED = 24


def draw_segments(
    image: Tensor | Image.Image, segments: PanopticMap | SemanticMap, classes: Sequence[str] = ()
) -> Image.Image:
    """A copy of `image` tinted by class, so that its texture shows, with a legend on its right.

    Things have a contour, and each a different shade; the legend lists classes by falling area: how many of things,
    how much of the image of stuff.

    Args:
        image: uint8 RGB (3, H, W), or a PIL image.
        segments: in the pixels of `image`; of a semantic map, the most likely class of each pixel.
        classes: the name of each label; a label without a name is shown as its number.
    """
    panoptic = by_class(segments) if isinstance(segments, SemanticMap) else segments
    picture = to_pil(image)
    pixels = np.asarray(picture).astype(np.float32)
    ids = panoptic.ids.cpu().numpy().astype(np.int64)
    numbers = np.array([0, *(each["id"] for each in panoptic.segments)], np.int64)
    order = np.argsort(numbers)
    rows = order[np.searchsorted(numbers, ids, sorter=order).clip(max=len(numbers) - 1)]
    things = np.array([False, *(each["is_thing"] for each in panoptic.segments)])
    tint = np.array([0.0, *(_TINT_THINGS if thing else _TINT_STUFF for thing in things[1:])])[rows][..., None]
    colors = np.array([_INK, *_shades(panoptic.segments)], np.float32)
    canvas = pixels * (1 - tint) + colors[rows] * tint
    width = max(1, round(min(picture.size) / 300))
    rim = _rims(np.where(things[rows], rows, 0), width)
    canvas[rim] = 0.25 * canvas[rim] + 0.75 * np.where(colors[rows].mean(-1, keepdims=True) > 127, 0, 255)[rim]
    return _with_legend(Image.fromarray(canvas.round().astype(np.uint8)), panoptic, classes)


def _shades(segments: Sequence[Any]) -> list[tuple[int, ...]]:
    """The color of each segment: that of its class, of things brighter and darker in turn."""
    counts: dict[int, int] = {}
    shades: list[tuple[int, ...]] = []
    for each in segments:
        shade: tuple[int, ...] = class_color(each["label"])
        if each["is_thing"]:
            turn = counts[each["label"]] = counts.get(each["label"], -1) + 1
            shade = tuple(min(255, round(value * (1.0, 1.3, 0.75, 1.15, 0.6)[turn % 5])) for value in shade)
        shades.append(shade)
    return shades


def _rims(ids: NDArray[np.int64], width: int) -> NDArray[np.bool_]:
    """The pixels of things, which are above 0, that are no more than `width` away from another segment."""
    as_map = torch.from_numpy(ids).double()[None, None]
    side = 2 * width + 1
    highest, lowest = (sign * F.max_pool2d(sign * as_map, side, stride=1, padding=width) for sign in (1, -1))
    return ((highest != lowest)[0, 0].numpy()) & (ids > 0)


def _with_legend(picture: Image.Image, panoptic: PanopticMap, classes: Sequence[str]) -> Image.Image:
    rows = entries(panoptic, classes)
    if not rows:
        return picture
    hidden = len(rows) - _LISTED
    if hidden > 0:
        rows = [*rows[:_LISTED], (-1, f"and {hidden} more")]
    size = max(9, min(round(min(picture.size) / 28), picture.height // (len(rows) + 1) * 2 // 3))
    letters, step, gap = font(size), round(1.5 * size), size // 2
    wide = max(ImageDraw.Draw(picture).textlength(text, font=letters) for _, text in rows)
    sheet = Image.new("RGB", (picture.width + round(wide) + 3 * gap + size, max(picture.height, step * len(rows))))
    sheet.paste(_PAPER, (0, 0, *sheet.size))
    sheet.paste(picture, (0, 0))
    pen = ImageDraw.Draw(sheet)
    for row, (label, text) in enumerate(rows):
        x, y = picture.width + gap, row * step + gap // 2
        if label >= 0:
            pen.rectangle((x, y, x + size, y + size), fill=class_color(label), outline=_INK)
        pen.text((x + size + gap, y - size // 8), text, font=letters, fill=_INK)
    return sheet
