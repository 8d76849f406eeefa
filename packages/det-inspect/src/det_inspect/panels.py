"""Pictures of several images: ground truth beside predictions, and contact sheets."""

from collections.abc import Sequence

from det_core.structures import Detections, Targets
from det_core.visual import draw
from det_core.visual.draw import font, name_of
from det_core.zoo.class_names import short_name
from PIL import Image, ImageDraw
from torch import Tensor

__all__ = ["contact_sheet", "side_by_side"]

_PAPER, _INK = (255, 255, 255), (30, 30, 30)
_HEADING = 200
"""Most characters of a heading."""


def side_by_side(
    image: Tensor | Image.Image, targets: Targets, prediction: Detections, classes: Sequence[str] = ()
) -> Image.Image:
    """Two panels with headings: the ground truth on the left, the prediction on the right.

    Args:
        image: uint8 RGB (3, H, W), or a PIL image.
        targets: the ground truth, in the pixels of `image`.
        prediction: detections, in the pixels of `image`.
        classes: the name of each label; a label without a name is shown as its number.
    """
    panels = [
        _with_heading(draw(image, targets, classes), f"ground truth: {_count(targets, classes)}"),
        _with_heading(draw(image, prediction, classes), f"prediction: {_count(prediction, classes)}"),
    ]
    return contact_sheet(panels, columns=2)


def contact_sheet(images: Sequence[Image.Image], columns: int = 2, gap: int = 12) -> Image.Image:
    """Images in rows on white paper, each in a cell of the largest size among them.

    Args:
        images: RGB images of any sizes.
        columns: number of pictures in a row.
        gap: pixels between cells, and around all of them.
    """
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    cell_width = max((image.width for image in images), default=1)
    cell_height = max((image.height for image in images), default=1)
    sheet = Image.new("RGB", (columns * (cell_width + gap) + gap, rows * (cell_height + gap) + gap), _PAPER)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        left = gap + column * (cell_width + gap) + (cell_width - image.width) // 2
        sheet.paste(image, (left, gap + row * (cell_height + gap)))
    return sheet


def _count(objects: Detections | Targets, classes: Sequence[str]) -> str:
    """How many of each class there are, such as "12 RBC, 1 WBC"."""
    labels, counts = objects.labels.unique(return_counts=True)
    parts = [f"{n} {name_of(label, classes)}" for label, n in zip(labels.tolist(), counts.tolist(), strict=True)]
    return short_name(", ".join(parts), _HEADING) or "nothing"


def _with_heading(picture: Image.Image, heading: str) -> Image.Image:
    size = max(11, round(min(picture.size) / 26))
    framed = Image.new("RGB", (picture.width, picture.height + 2 * size), _PAPER)
    framed.paste(picture, (0, 2 * size))
    ImageDraw.Draw(framed).text((0, size // 2), heading, font=font(size), fill=_INK)
    return framed
