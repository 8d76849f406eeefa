"""Scores of one image: from predictions and annotated objects to the few numbers that are kept of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from det_densepose.bodies.body import Distances
from det_densepose.evaluation.matching import ImageClass
from det_densepose.evaluation.regions import box_kept, box_overlaps, mask_kept, mask_overlaps
from det_densepose.evaluation.similarity import GroundTruthPoints, Reader, similarity

__all__ = ["DetectedObject", "GroundTruthObject", "kept_objects", "score_image"]

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class GroundTruthObject:
    """A ground-truth object.

    Attributes:
        label: label of the object's class.
        box: x, y, width, height in pixels.
        area: area of the object in square pixels.
        crowd: whether it is a group of objects.
        points: annotated points; None: the object is ignored.
        rle: mask in the image; None without a mask.
    """

    label: int
    box: Box
    area: float
    crowd: bool
    points: GroundTruthPoints | None
    rle: Any = None


@dataclass(frozen=True, eq=False)
class DetectedObject:
    """A detection.

    Attributes:
        label: label of the predicted class.
        box: x, y, width, height in pixels.
        score: score in [0, 1].
        reader: predicted vertices at pixels; None without a DensePose prediction.
        mask: bool (h, w) over its box in whole pixels.
        rle: mask in the image as COCO RLE.
        quantized: whether regions to ignore are compared with its mask, as published for charts, or with its box.
    """

    label: int
    box: Box
    score: float
    reader: Reader | None
    mask: NDArray[np.bool_]
    rle: Any
    quantized: bool


def kept_objects(
    ground_truth: Sequence[GroundTruthObject], detections: Sequence[DetectedObject], region: NDArray[np.bool_] | None
) -> tuple[list[int], list[int]]:
    """Rows of the objects and of the detections that do not lie in a region to ignore, bool (H, W).

    Without any object, no detection is left out, as published.
    """
    if region is None or not ground_truth:
        return list(range(len(ground_truth))), list(range(len(detections)))
    objects = [row for row, each in enumerate(ground_truth) if box_kept(each.box, region)]
    detection_rows = [
        row
        for row, each in enumerate(detections)
        if (mask_kept(each.box, each.mask, region) if each.quantized else box_kept(each.box, region))
    ]
    return objects, detection_rows


def score_image(
    ground_truth: Sequence[GroundTruthObject],
    detections: Sequence[DetectedObject],
    region: NDArray[np.bool_] | None,
    distances: Callable[[str], Distances],
    max_detections: int = 20,
) -> dict[int, ImageClass]:
    """What is kept of an image, by class: similarities of all pairs of detections and objects.

    Args:
        ground_truth: all objects of the image.
        detections: all detections of the image, of all classes.
        region: region of the image in which nothing is evaluated, bool (H, W).
        distances: along the surface of a mesh, by its name ("" for charts).
        max_detections: maximum number of detections of each class, by score.
    """
    objects, detection_rows = kept_objects(ground_truth, detections, region)
    scores = {}
    for label in sorted(
        {ground_truth[row].label for row in objects} | {detections[row].label for row in detection_rows}
    ):
        class_objects = [ground_truth[row] for row in objects if ground_truth[row].label == label]
        best = [detections[row] for row in detection_rows if detections[row].label == label]
        order = np.argsort([-each.score for each in best], kind="stable")[:max_detections]
        scores[label] = _score_class(class_objects, [best[row] for row in order], distances)
    return scores


def _score_class(
    ground_truth: Sequence[GroundTruthObject],
    detections: Sequence[DetectedObject],
    distances: Callable[[str], Distances],
) -> ImageClass:
    crowd = np.array([each.crowd for each in ground_truth], bool)
    gt_boxes = np.array([each.box for each in ground_truth], np.float64).reshape(-1, 4)
    boxes = np.array([each.box for each in detections], np.float64).reshape(-1, 4)
    gps = np.zeros((len(detections), len(ground_truth)))
    for column, each in enumerate(ground_truth):
        if each.points is not None:
            along = distances(each.points.mesh) if detections else None
            for row, detection in enumerate(detections):
                if detection.reader is not None and along is not None:
                    gps[row, column] = similarity(detection.reader, detection.box, each.points, along)
    overlaps = np.zeros(gps.shape)
    masked = [column for column, each in enumerate(ground_truth) if each.rle is not None]
    if masked and detections:
        rles = [ground_truth[column].rle for column in masked]
        overlaps[:, masked] = mask_overlaps([each.rle for each in detections], rles, crowd[masked])
    similarities: Mapping[str, NDArray[np.float64]] = {"gps": gps, "gpsm": np.sqrt(gps * overlaps), "segm": overlaps}
    return ImageClass(
        scores=np.array([each.score for each in detections], np.float64),
        areas=boxes[:, 2] * boxes[:, 3],
        box_iou=box_overlaps(boxes, gt_boxes, crowd),
        similarities=similarities,
        gt_areas=np.array([each.area for each in ground_truth], np.float64),
        ignored=np.array([each.points is None for each in ground_truth], bool),
        crowd=crowd,
    )
