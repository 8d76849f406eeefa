"""Average precision of LVIS (Gupta et al., 2019), whose classes are not annotated in all images."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any, NamedTuple

import numpy as np
from det_core.errors import ConfigError, DataError
from det_core.evaluation.coco import CocoEvaluator
from det_core.evaluation.curves import Curves, IouType, Table, read_table
from det_core.evaluation.figures import Named, averages, mean, recalls
from det_core.structures import Prediction, Sample
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

__all__ = ["LvisEvaluator"]

_EXTRAS = ("lvis/negative", "lvis/not_exhaustive", "lvis/frequency")
_GROUPS = {"APr": (0, "rare"), "APc": (1, "common"), "APf": (2, "frequent")}


class LvisEvaluator:
    """AP of boxes and masks as defined by LVIS: COCO's, with three differences.

    The best `max_detections` of an image are kept, over all classes together. A class is evaluated only in images where
    it is present or verified absent. Where its annotation is not exhaustive, unmatched detections are ignored.

    Args:
        classes: names of the classes; the label is the index.
        iou_types: types of IoU: "bbox" for boxes, "segm" for masks.
        max_detections: maximum number of detections per image, by score.

    Attributes:
        notes: reason for each missing metric, by its key; set by `result`.
    """

    def __init__(
        self, classes: Sequence[str], iou_types: Sequence[IouType] = ("bbox",), max_detections: int = 300
    ) -> None:
        if not set(iou_types) <= {"bbox", "segm"}:
            raise ConfigError("iou_types", "must be some of 'bbox' and 'segm'", f"got {list(iou_types)}")
        self.classes, self.iou_types, self.max_detections = tuple(classes), tuple(iou_types), max_detections
        self.notes: dict[str, str] = {}
        self._coco = CocoEvaluator(classes, iou_types, max_detections)
        self._annotated_classes: dict[int | str, _AnnotatedClasses] = {}

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image; raises as `CocoEvaluator`, and DataError if the sample is not from an LVIS dataset."""
        extras = {} if sample.targets is None else sample.targets.image_extras
        if sample.targets is not None and (missing := [key for key in _EXTRAS if key not in extras]):
            fix = "evaluate on a dataset of the type 'lvis'"
            raise DataError(f"image {sample.id}", f"lacks the extra {missing[0]!r} of LVIS datasets", fix=fix)
        self._coco.update(prediction, sample)
        self._annotated_classes[sample.id] = _AnnotatedClasses(*(extras[key].cpu().numpy().copy() for key in _EXTRAS))

    def state(self) -> Any:
        """The images added so far."""
        return self._coco.state(), dict(self._annotated_classes)

    def merge(self, states: Sequence[Any]) -> None:
        """Add the images of all processes; an image of several counts once."""
        self._coco.merge([images for images, _ in states])
        self._annotated_classes = {key: each for _, classes in states for key, each in classes.items()}

    def result(self) -> dict[str, float]:
        """{"bbox/AP": ..., "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", "AR300"}, and so for "segm".

        All are in [0, 1]. APr, APc and APf are for classes in at most 10, at most 100 and more training images.
        """
        self.notes = {}
        metrics: dict[str, float] = {}
        for iou_type in self.iou_types:
            for name, value, missing in self._named(self._evaluate(iou_type)):
                if value is not None:
                    metrics[f"{iou_type}/{name}"] = value
                else:
                    self.notes[f"{iou_type}/{name}"] = missing if self._annotated_classes else "no image was evaluated"
        return metrics

    def _named(self, curves: Curves) -> Named:
        yield from averages(curves, "bbox")
        frequency = next((each.frequency for each in self._annotated_classes.values()), np.zeros(len(self.classes)))
        for name, (group, word) in _GROUPS.items():
            values = curves.precision[:, :, frequency == group, 0, -1]
            yield name, mean(values), f"the ground truth has no object of a {word} class"
        yield from recalls(curves, [self.max_detections])

    def _evaluate(self, iou_type: IouType) -> Curves:
        annotated = [self._annotated_classes[image_id] for image_id in self._coco.image_ids]
        with redirect_stdout(io.StringIO()):
            ground_truth, detections = self._coco.tables(iou_type)
            best = _evaluated(ground_truth, detections, annotated, self.max_detections)
            evaluation = COCOeval(read_table(ground_truth), read_table(best), iou_type)
            evaluation.params.maxDets = [self.max_detections]
            evaluation.evaluate()
            for each in evaluation.evalImgs:
                if each is not None and each["category_id"] in annotated[each["image_id"]].not_exhaustive:
                    each["dtIgnore"] = np.logical_or(each["dtIgnore"], np.asarray(each["dtMatches"]) == 0)
            evaluation.accumulate()
        return Curves(evaluation.eval["precision"], evaluation.eval["recall"], evaluation.eval["scores"])


class _AnnotatedClasses(NamedTuple):
    """Labels of the annotated classes of one image, and the frequency of all classes."""

    negative: NDArray[np.int64]
    not_exhaustive: NDArray[np.int64]
    frequency: NDArray[np.uint8]


def _evaluated(ground_truth: Table, detections: Table, annotated: "Sequence[_AnnotatedClasses]", limit: int) -> Table:
    """The best detections of each image, and of these the ones of classes that are evaluated there."""
    there: list[set[int]] = [set(each.negative.tolist()) for each in annotated]
    for annotation in ground_truth["annotations"]:
        there[annotation["image_id"]].add(annotation["category_id"])
    by_image: list[list[Any]] = [[] for _ in annotated]
    for annotation in detections["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    best = [
        annotation
        for image_id, in_image in enumerate(by_image)
        for annotation in sorted(in_image, key=lambda each: -each["score"])[:limit]
        if annotation["category_id"] in there[image_id]
    ]
    return {**detections, "annotations": best}
