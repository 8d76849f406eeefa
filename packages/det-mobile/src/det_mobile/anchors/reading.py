"""The sizes of a dataset's boxes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from det_core.errors import DataError
from numpy.typing import NDArray

__all__ = ["sizes_of"]


def sizes_of(path: str, short: int | None = None, long: int | None = None) -> NDArray[np.float64]:
    """Width and height of each box of a COCO annotation file, (N, 2), without crowds and empty boxes.

    Args:
        path: path of the annotation file.
        short: length in pixels to which the shorter side of images is resized; boxes are scaled accordingly.
        long: maximum length in pixels of the longer side after resizing.

    Raises:
        DataError: the file is missing or invalid, has no boxes, or lacks the image sizes that scaling needs.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(path, "cannot be read", error.strerror or str(error), "give a file of annotations") from error
    except ValueError as error:
        raise DataError(path, "is no annotation file", str(error), "give a JSON file in COCO's form") from error
    try:
        rows = [each for each in content["annotations"] if not each.get("iscrowd")]
        scale = {each["id"]: _scale(each, short, long) for each in content["images"]} if short else {}
        sizes = [_size(each["bbox"], scale.get(each["image_id"], 1.0)) for each in rows]
    except (TypeError, KeyError, ValueError, AttributeError, ZeroDivisionError) as error:
        fix = "it needs images with width and height, and annotations with image_id and bbox"
        raise DataError(path, "is of another form than COCO's", f"{type(error).__name__}: {error}", fix) from error
    positive = [size for size in sizes if min(size) > 0]
    if not positive:
        raise DataError(path, "holds no box", f"{len(sizes)} annotations", "give the annotations of a training set")
    return np.array(positive, dtype=np.float64)


def _scale(image: dict[str, Any], short: int | None, long: int | None) -> float:
    sides = sorted((image["width"], image["height"]))
    scale = (short or sides[0]) / sides[0]
    return min(scale, long / sides[1]) if long else scale


def _size(box: Any, scale: float) -> tuple[float, float]:
    _, _, width, height = (float(number) for number in box[:4])
    return width * scale, height * scale
