"""Figures of a dataset that a recipe depends on: sizes of pictures and objects, shapes, the task."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from det_core.data.formats.coco_checks import segmentation_fault
from det_core.errors import DataError
from numpy.typing import NDArray

from det_inspect.counting import counted
from det_inspect.start.asking import Answers
from det_inspect.start.gather import Gathered

__all__ = ["TASKS", "Figures", "anchors_for", "choose_task", "measure"]

TASKS = ("detect", "segment", "pose", "rotated")
_MULTIPLES = (4.0, 8.0)  # of a stride: sides of the anchors on its level
_RATIOS = (0.2, 5.0)


@dataclass(frozen=True)
class Figures:
    """Measurements of the training images.

    Attributes:
        images: number of images in the training set.
        objects: number of objects in all images.
        short: median of the shorter sides of pictures, in pixels.
        long: median of the longer sides.
        sides: square roots of the areas of the boxes, in pixels of the pictures: float (N,).
        relative: `sides` divided by the shorter side of their pictures.
        shapes: height divided by width of each box.
    """

    images: int
    objects: int
    short: float
    long: float
    sides: NDArray[np.float64]
    relative: NDArray[np.float64]
    shapes: NDArray[np.float64]


def measure(gathered: Gathered) -> Figures:
    """The figures of the training pictures.

    Raises:
        DataError: they have no object.
    """
    images = gathered.images["train"]
    shorter = {each["id"]: min(each["height"], each["width"]) for each in images}
    records = [each for each in gathered.objects["train"] if not each["iscrowd"]]
    boxes = np.array([each["bbox"][2:4] for each in records], np.float64).reshape(-1, 2)
    if not len(boxes):
        raise DataError(str(gathered.root), "has no object in its training pictures", fix="annotate some of them")
    sides = np.sqrt(boxes.prod(1))
    return Figures(
        images=len(images),
        objects=len(boxes),
        short=float(np.median([min(each["height"], each["width"]) for each in images])),
        long=float(np.median([max(each["height"], each["width"]) for each in images])),
        sides=sides,
        relative=sides / np.array([shorter[each["image_id"]] for each in records]),
        shapes=boxes[:, 1] / np.maximum(boxes[:, 0], 1e-6),
    )


def choose_task(gathered: Gathered, answers: Answers, implied: str = "") -> str:
    """One of `TASKS`, from the kinds of annotations; objects that do not fit it are left out, with a note.

    Raises:
        ConfigError: several tasks are possible and no one can be asked; or the task of --task is impossible.
    """
    objects = [each for each in gathered.all_objects() if not each["iscrowd"]]
    turned = sum(len(each["bbox"]) == 5 for each in objects)
    masks = sum(_has_mask(each) for each in objects)
    quads = sum(_is_quad(each) for each in objects)
    points = sum(any(each.get("keypoints", ())) for each in objects) if gathered.keypoints else 0
    option, task = answers.value("--task"), implied or "detect"
    there = f"of {len(objects)} objects, {masks} have masks, {points} keypoints and {turned} are rotated"
    possible = {"detect": not turned, "segment": masks > 0, "pose": points > 0, "rotated": bool(turned or quads)}
    if option:
        if not possible[option]:
            raise DataError(f"det start --task {option}", "does not fit the annotations", there)
        task = option
    elif turned:
        task = "rotated"
    elif points and masks:
        task = answers.ask("--task", f"{there}: which should be predicted?", ("detect", "segment", "pose"))
    elif points:
        task = "pose"
    elif masks and not implied:
        if quads == masks:
            text = f"all {masks} polygons have four corners: are they masks, or rotated boxes?"
            task = answers.ask("--task", text, ("segment", "rotated", "detect"))
        elif masks < len(objects):
            task = answers.ask("--task", f"{there}: boxes only (detect) or masks (segment)?", ("detect", "segment"))
        else:
            task = "segment"
    _fit(gathered, task)
    return task


def _has_mask(record: dict[str, Any]) -> bool:
    """Whether an object has a segmentation that is more than the corners of its box."""
    rings = record.get("segmentation")
    if not rings or isinstance(rings, dict) or len(rings) > 1 or len(rings[0]) != 8:
        return bool(rings)
    x, y, w, h, *_ = record["bbox"]
    corners = {(x, y), (x + w, y), (x + w, y + h), (x, y + h)}
    points = zip(rings[0][::2], rings[0][1::2], strict=True)
    return not all(any(abs(a - p) + abs(b - q) < 1 for a, b in corners) for p, q in points)


def _is_quad(record: dict[str, Any]) -> bool:
    rings = record.get("segmentation")
    return isinstance(rings, list) and len(rings) == 1 and len(rings[0]) == 8 and _has_mask(record)


def _fit(gathered: Gathered, task: str) -> None:
    """Leave out objects without the parts that a task needs, and the parts that it does not need."""
    for split, objects in gathered.objects.items():
        sizes = {each["id"]: (each["height"], each["width"]) for each in gathered.images[split]}
        fitting = []
        for each in objects:
            if task == "segment":
                rings = each.get("segmentation")
                if not rings or segmentation_fault(rings, *sizes[each["image_id"]]):
                    continue
            elif task == "rotated" and len(each["bbox"]) == 4 and isinstance(each.get("segmentation"), list):
                each = {**each, "bbox": rotated_box(each["segmentation"][0])}
            unused = {"segment": ("keypoints", "num_keypoints"), "pose": ("segmentation",)}
            drop = unused.get(task, ("segmentation", "keypoints", "num_keypoints"))
            fitting.append({key: value for key, value in each.items() if key not in drop})
        if left := len(objects) - len(fitting):
            gathered.notes.append(f"{split}: {counted(left, 'object')} without a usable mask left out")
            gathered.originals.pop(split, None)
        gathered.objects[split] = fitting
    if task != "pose":
        gathered.keypoints = ()


def rotated_box(ring: Sequence[float]) -> list[float]:
    """Center, width, height and angle (degrees, counter-clockwise) of a quadrilateral x0, y0, ... x3, y3.

    The sides are the means of opposite ones, and the angle is that of the first side and its opposite.
    """
    corners = np.array(ring, np.float64).reshape(-1, 2)[:4]
    along = (corners[1] - corners[0] + corners[2] - corners[3]) / 2
    across = (corners[2] - corners[1] + corners[3] - corners[0]) / 2
    width, height = math.hypot(*along), math.hypot(*across)
    angle = -math.degrees(math.atan2(along[1], along[0]))
    return [*corners.mean(0).round(4).tolist(), round(width, 4), round(height, 4), round((angle + 180) % 360 - 180, 4)]


def anchors_for(sides: NDArray[np.float64], shapes: NDArray[np.float64], strides: Sequence[int]) -> dict[str, Any]:
    """Anchor sizes of each level and aspect ratios for boxes as the network gets them.

    A level has one size, a multiple of its stride, so that objects are found on maps that are fine enough for them.
    Below 4, few anchors fit an object, and short trainings learn less. Of multiples from 4 to 8 the one is taken whose
    anchors are closest to the boxes; boxes count by ranges of size, so rare small and large objects count as much as
    frequent ones.
    """
    low, high = (max(4.0, float(value)) for value in np.percentile(sides, (2, 98)))
    targets = np.geomspace(low, max(high, 1.2 * low), 16)

    def distance(multiple: float) -> float:
        sizes = multiple * np.array(strides)
        return float(np.abs(np.log(targets[:, None] / sizes)).min(1).mean())

    best = min(np.arange(_MULTIPLES[0], _MULTIPLES[1] + 0.1, 0.25), key=distance)
    percentiles = np.clip(np.percentile(shapes, (10, 50, 90)), *_RATIOS)
    ratios = sorted({float(f"{ratio:.2g}") for ratio in percentiles})
    ratios = [ratio for place, ratio in enumerate(ratios) if place == 0 or ratio > 1.15 * ratios[place - 1]]
    return {"sizes": [[round(float(best * stride))] for stride in strides], "aspect_ratios": [ratios]}
