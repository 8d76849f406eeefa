"""Average precision as LVIS defines it (Gupta et al., 2019), for classes that were not looked for everywhere."""

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
    """Average precision of boxes and masks by the rules of LVIS: COCO's, with three differences.

    The best `max_detections` of an image count, of all classes together. A class is judged only in images where it is,
    or where it certainly is not. Where not all of its objects are annotated, detections that match none are forgiven.

    Args:
        classes: the name of each label.
        iou_types: what to compare: "bbox", "segm".
        max_detections: how many detections of an image count.

    Attributes:
        notes: why a figure is not there, by its key; made by `result`.
    """

    def __init__(
        self, classes: Sequence[str], iou_types: Sequence[IouType] = ("bbox",), max_detections: int = 300
    ) -> None:
        if not set(iou_types) <= {"bbox", "segm"}:
            raise ConfigError("iou_types", "must be some of 'bbox' and 'segm'", f"got {list(iou_types)}")
        self.classes, self.iou_types, self.max_detections = tuple(classes), tuple(iou_types), max_detections
        self.notes: dict[str, str] = {}
        self._coco = CocoEvaluator(classes, iou_types, max_detections)
        self._known: dict[int | str, _Known] = {}

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image; raises as `CocoEvaluator` does, and DataError if the sample is of no LVIS dataset."""
        extras = {} if sample.targets is None else sample.targets.image_extras
        if sample.targets is not None and (missing := [key for key in _EXTRAS if key not in extras]):
            fix = "evaluate on a dataset of the type 'lvis'"
            raise DataError(f"image {sample.id}", f"does not say what is known of it, {missing[0]!r}", fix=fix)
        self._coco.update(prediction, sample)
        self._known[sample.id] = _Known(*(extras[key].cpu().numpy().copy() for key in _EXTRAS))

    def state(self) -> Any:
        """The images added so far."""
        return self._coco.state(), dict(self._known)

    def merge(self, states: Sequence[Any]) -> None:
        """Take the images of all processes; one that several of them saw counts once."""
        self._coco.merge([images for images, _ in states])
        self._known = {key: known for _, own in states for key, known in own.items()}

    def result(self) -> dict[str, float]:
        """{"bbox/AP": ..., "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", "AR300"}, and so for "segm".

        All are in [0, 1]. APr, APc and APf are those of classes in up to 10, up to 100 and more training images.
        """
        self.notes = {}
        figures: dict[str, float] = {}
        for iou_type in self.iou_types:
            for name, value, missing in self._named(self._judge(iou_type)):
                if value is not None:
                    figures[f"{iou_type}/{name}"] = value
                else:
                    self.notes[f"{iou_type}/{name}"] = missing if self._known else "no image was judged"
        return figures

    def _named(self, made: Curves) -> Named:
        yield from averages(made, "bbox")
        frequency = next((known.frequency for known in self._known.values()), np.zeros(len(self.classes)))
        for name, (group, word) in _GROUPS.items():
            values = made.precision[:, :, frequency == group, 0, -1]
            yield name, mean(values), f"the truth holds no object of a {word} class"
        yield from recalls(made, [self.max_detections])

    def _judge(self, iou_type: IouType) -> Curves:
        known = [self._known[image_id] for image_id in self._coco.image_ids]
        with redirect_stdout(io.StringIO()):
            truth, guess = self._coco.tables(iou_type)
            best = _judged(truth, guess, known, self.max_detections)
            judge = COCOeval(read_table(truth), read_table(best), iou_type)
            judge.params.maxDets = [self.max_detections]
            judge.evaluate()
            for each in judge.evalImgs:
                if each is not None and each["category_id"] in known[each["image_id"]].not_exhaustive:
                    each["dtIgnore"] = np.logical_or(each["dtIgnore"], np.asarray(each["dtMatches"]) == 0)
            judge.accumulate()
        return Curves(judge.eval["precision"], judge.eval["recall"], judge.eval["scores"])


class _Known(NamedTuple):
    """What is known of one image beside its objects, and of all classes: all as labels."""

    negative: NDArray[np.int64]
    not_exhaustive: NDArray[np.int64]
    frequency: NDArray[np.uint8]


def _judged(truth: Table, guess: Table, known: "Sequence[_Known]", limit: int) -> Table:
    """Of each image's detections the best, and of these the ones of classes that are judged there."""
    there: list[set[int]] = [set(each.negative.tolist()) for each in known]
    for annotation in truth["annotations"]:
        there[annotation["image_id"]].add(annotation["category_id"])
    by_image: list[list[Any]] = [[] for _ in known]
    for annotation in guess["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    kept = [
        annotation
        for image_id, own in enumerate(by_image)
        for annotation in sorted(own, key=lambda each: -each["score"])[:limit]
        if annotation["category_id"] in there[image_id]
    ]
    return {**guess, "annotations": kept}
