"""Panoptic quality (Kirillov et al., "Panoptic segmentation", 2019), also on boundaries (Cheng et al., 2021)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from det_core.errors import ConfigError, DataError, StructureError
from det_core.evaluation.per_image import PerImage
from det_core.structures import PanopticMap, Prediction, Sample
from numpy.typing import NDArray

from det_panoptic.evaluation.overlaps import Overlaps, overlaps, rims
from det_panoptic.segments import segments_of

__all__ = ["BoundaryQuality", "PanopticQuality"]

_MATCH = 0.5  # IoU above one half: no segment can match two


Crowds = Literal["last", "all"]
"""Which crowds of a class ignore predictions, where an image has several."""


class _Segments(NamedTuple):
    """A map (H, W) with segments counted from 1, and the attributes of each."""

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    things: NDArray[np.bool_]
    crowd: NDArray[np.bool_]


class _Counts(NamedTuple):
    """Of one image: for each label that occurs, the sum of IoUs, and the number of TP, FP and FN."""

    labels: NDArray[np.int64]
    things: NDArray[np.bool_]
    numbers: NDArray[np.float64]


class PanopticQuality(PerImage[_Counts]):
    """Segmentation quality (SQ), recognition quality (RQ) and their product, panoptic quality (PQ); means over classes.

    A predicted segment matches a ground-truth segment of its class if their IoU exceeds one half. Pixels that are void
    in the ground truth are ignored, and so is an unmatched prediction of which more than half is void or in a crowd of
    its class. A crowd is never a false negative. Segments without pixels are skipped.

    Args:
        classes: class names, by label.
        crowds: which crowds of a class ignore predictions, where an image has several: "last", the last one of the
            file, as in panopticapi, whose figures are published; or "all".

    Attributes:
        notes: reason for each missing metric, by its key; set by `result`.
    """

    task = "panoptic"

    def __init__(self, classes: Sequence[str], crowds: Crowds = "last") -> None:
        super().__init__()
        if crowds not in get_args(Crowds):
            raise ConfigError(f"{type(self).__name__}.crowds", "must be 'last' or 'all'", f"got {crowds!r}")
        self.classes, self.crowds = tuple(classes), crowds
        self.notes: dict[str, str] = {}

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image.

        Raises:
            DataError: the sample has no ground truth, or its image was added before.
            StructureError: ground truth or prediction has no segments, or the predicted ones have another size, an
                invalid label or no entry.
        """
        where = f"image {sample.id}"
        self.require_new(sample)
        if sample.targets is None:
            raise DataError(where, "has no annotations to evaluate on", fix="evaluate on a dataset that has them")
        if prediction.panoptic is None:
            raise StructureError(where, "its prediction has no segments", fix="this evaluator is for panoptic models")
        targets = segments_of(sample.targets, where)
        arrays = (each.cpu().numpy() for each in targets)
        ground_truth, predicted = _Segments(*arrays), _read(prediction.panoptic, sample, len(self.classes))
        counts = overlaps(ground_truth.ids, predicted.ids, len(ground_truth.labels), len(predicted.labels))
        ious = self._ious(counts, ground_truth, predicted)
        self._images[sample.id] = _counted(counts, ious, ground_truth, predicted, self.crowds)

    def _ious(self, counts: Overlaps, ground_truth: _Segments, prediction: _Segments) -> NDArray[np.float64]:
        """IoU of each ground-truth segment (row) and each predicted one (column)."""
        return counts.ious()

    def result(self) -> dict[str, float]:
        """{"panoptic/PQ", "/SQ", "/RQ", "/PQ_things", ..., "/PQ/NAME", ...}, all in [0, 1].

        Classes that occur neither in the ground truth nor among false positives are left out, with an entry in `notes`.
        """
        self.notes = {}
        numbers, things = np.zeros((len(self.classes), 4)), np.zeros(len(self.classes), bool)
        for image in self._images.values():
            np.add.at(numbers, image.labels, image.numbers)
            things[image.labels] |= image.things
        overlap, hit, wrong, missed = numbers.T
        there = hit + wrong + missed > 0
        if not there.any():
            self.notes = {f"{self.task}/PQ": "no segment was evaluated"}
            return {}
        rq = hit / np.maximum(hit + (wrong + missed) / 2, 0.5)
        sq = overlap / np.maximum(hit, 1)
        metrics = {"PQ": sq * rq, "SQ": sq, "RQ": rq}
        result = {}
        for name, kind in (("", there), ("_things", there & things), ("_stuff", there & ~things)):
            for metric, values in metrics.items():
                key = f"{self.task}/{metric}{name}"
                if kind.any():
                    result[key] = float(values[kind].mean())
                else:
                    self.notes[key] = "no segment of this kind was evaluated"
        for label, name in enumerate(self.classes):
            if there[label]:
                result |= {f"{self.task}/{metric}/{name}": float(values[label]) for metric, values in metrics.items()}
            else:
                self.notes[f"{self.task}/PQ/{name}"] = f"there is no segment of class {name!r}"
        return result


class BoundaryQuality(PanopticQuality):
    """Panoptic quality with the IoU of boundaries where it is lower, which is stricter on large segments.

    Args:
        classes: class names, by label.
        width: boundary width as a fraction of the image diagonal, in (0, 1); at least one pixel.
        crowds: as in `PanopticQuality`.

    Attributes:
        notes: reason for each missing metric, by its key; set by `result`.
    """

    task = "boundary"

    def __init__(self, classes: Sequence[str], width: float = 0.02, crowds: Crowds = "last") -> None:
        super().__init__(classes, crowds)
        if not 0 < width < 1:
            raise ConfigError("BoundaryQuality.width", "must lie between 0 and 1", f"got {width}")
        self.width = width

    def _ious(self, counts: Overlaps, ground_truth: _Segments, prediction: _Segments) -> NDArray[np.float64]:
        width = max(1, round(self.width * float(np.hypot(*ground_truth.ids.shape))))
        sizes = len(ground_truth.labels), len(prediction.labels)
        true, predicted = rims(ground_truth.ids, width), rims(prediction.ids, width)
        on_rims = overlaps(true, predicted, *sizes)
        # The rim of a prediction inside of a ground-truth segment is not void.
        void = np.bincount(predicted[ground_truth.ids == 0], minlength=sizes[1] + 1)[1:]
        return np.minimum(counts.ious(), on_rims._replace(void=void).ious())


def _read(panoptic: PanopticMap, sample: Sample, classes: int) -> _Segments:
    """A prediction, with segments numbered from 1 in the order of its list."""
    where, ids = f"image {sample.id}", panoptic.ids.cpu().numpy().astype(np.int64, copy=False)
    if ids.shape != sample.size:
        found = f"{ids.shape} instead of {sample.size}"
        raise StructureError(where, "its segments are for an image of another size", found)
    labels = np.array([each["label"] for each in panoptic.segments], np.int64)
    if ((labels < 0) | (labels >= classes)).any():
        found = f"labels run from {labels.min()} to {labels.max()} with {classes} classes"
        raise StructureError(where, "a segment has an invalid label", found, "number classes from 0")
    segment_ids = np.array([each["id"] for each in panoptic.segments], np.int64)
    if len(np.unique(segment_ids)) != len(segment_ids) or (segment_ids < 1).any():
        raise StructureError(
            where, "the ids of segments must be positive and differ", f"got {segment_ids.tolist()[:20]}"
        )
    highest = max(int(ids.max(initial=0)), int(segment_ids.max(initial=0)))
    if ids.min(initial=0) < 0 or highest >= 2**24:
        raise StructureError(where, "ids of segments must lie in [0, 2^24)", f"got {ids.min()} to {highest}")
    if (
        highest > len(segment_ids) or (segment_ids != np.arange(1, len(segment_ids) + 1)).any()
    ):  # not numbered 1, 2, ...
        number = np.full(highest + 1, -1, np.int64)
        number[0], number[segment_ids] = 0, np.arange(1, len(segment_ids) + 1)
        ids = number[ids]
        if (ids < 0).any():
            found = f"{int((ids < 0).sum())} pixels"
            raise StructureError(where, "some pixels are of segments that are not listed", found, "use 0 for none")
    things = np.array([bool(each["is_thing"]) for each in panoptic.segments], bool)
    return _Segments(ids, labels, things, np.zeros(len(segment_ids), bool))


def _counted(
    counts: Overlaps, ious: NDArray[np.float64], ground_truth: _Segments, prediction: _Segments, crowds: Crowds
) -> _Counts:
    same = ground_truth.labels[:, None] == prediction.labels
    match = (ious > _MATCH) & same & ~ground_truth.crowd[:, None]
    missed = ~match.any(1) & ~ground_truth.crowd & (counts.true > 0)
    ignored = counts.void + (counts.shared * (same & _ignoring_crowds(counts, ground_truth, crowds)[:, None])).sum(0)
    wrong = ~match.any(0) & (counts.predicted > 0) & (2 * ignored <= counts.predicted)
    rows, columns = np.nonzero(match)
    label = np.concatenate((ground_truth.labels[rows], prediction.labels[wrong], ground_truth.labels[missed]))
    thing = np.concatenate((ground_truth.things[rows], prediction.things[wrong], ground_truth.things[missed]))
    numbers = np.zeros((len(label), 4))
    numbers[: len(rows), 0] = ious[rows, columns]
    kinds = np.repeat([1, 2, 3], [len(rows), int(wrong.sum()), int(missed.sum())])
    numbers[np.arange(len(label)), kinds] = 1
    labels, places = np.unique(label, return_inverse=True)
    sums, things = np.zeros((len(labels), 4)), np.zeros(len(labels), bool)
    np.add.at(sums, places, numbers)
    np.logical_or.at(things, places, thing)
    return _Counts(labels, things, sums)


def _ignoring_crowds(counts: Overlaps, ground_truth: _Segments, crowds: Crowds) -> NDArray[np.bool_]:
    """Mask of the ground-truth crowds that ignore predictions: all, or the last of each class that has a pixel."""
    there = ground_truth.crowd & (counts.true > 0)
    if crowds == "all":
        return there
    last = np.zeros(len(there), bool)
    last[list({int(ground_truth.labels[row]): row for row in np.flatnonzero(there)}.values())] = True
    return last
