"""Panoptic quality (Kirillov et al., "Panoptic segmentation", 2019), also on boundaries (Cheng et al., 2021)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from det_core.errors import ConfigError, DataError, StructureError
from det_core.evaluation.per_image import PerImage
from det_core.structures import PanopticMap, Prediction, Sample
from numpy.typing import NDArray

from det_panoptic.evaluation.overlaps import Overlaps, overlaps, rims
from det_panoptic.truth import segments_of

__all__ = ["BoundaryQuality", "PanopticQuality"]

_MATCH = 0.5  # more than half: so no segment can match two


Crowds = Literal["last", "all"]
"""Which crowds of a class forgive predictions, where an image has several."""


class _Segments(NamedTuple):
    """A map (H, W) whose values count segments from 1, and what is said of each."""

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    things: NDArray[np.bool_]
    crowd: NDArray[np.bool_]


class _Counts(NamedTuple):
    """Of one image: for each label that occurs, the sum of overlaps, and how many were hit, wrong and missed."""

    labels: NDArray[np.int64]
    things: NDArray[np.bool_]
    numbers: NDArray[np.float64]


class PanopticQuality(PerImage[_Counts]):
    """How well segments are found (SQ) and recognised (RQ), and the product of both (PQ), the mean over the classes.

    A predicted segment hits a true one of its class that it overlaps by more than half. Pixels that are void in the
    truth do not count, and a prediction of which more than half is void, or lies in a crowd of its class, is forgiven.
    A crowd is never missed. Segments without pixels do not exist.

    Args:
        classes: the name of each label.
        crowds: where an image has several crowds of one class, which of them forgive: "last", that which its file lists
            last, as in the official program (panopticapi), whose figures are published; "all".

    Attributes:
        notes: why a figure is not there, by its key; made by `result`.
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
            DataError: the sample has no truth, or was there before.
            StructureError: the truth has no segments, or the prediction has none, or they are of another size, or of no
                label, or have no entry.
        """
        where = f"image {sample.id}"
        self.require_new(sample)
        if sample.targets is None:
            raise DataError(where, "has no annotations to judge by", fix="evaluate on a dataset that has them")
        if prediction.panoptic is None:
            raise StructureError(where, "its prediction has no segments", fix="this evaluator is for panoptic models")
        given = segments_of(sample.targets, where)
        arrays = (each.cpu().numpy() for each in given)
        truth, guess = _Segments(*arrays), _read(prediction.panoptic, sample, len(self.classes))
        found = overlaps(truth.ids, guess.ids, len(truth.labels), len(guess.labels))
        self._images[sample.id] = _counted(found, self._ious(found, truth, guess), truth, guess, self.crowds)

    def _ious(self, found: Overlaps, truth: _Segments, guess: _Segments) -> NDArray[np.float64]:
        """How well each true segment (row) and each predicted one (column) overlap."""
        return found.ious()

    def result(self) -> dict[str, float]:
        """{"panoptic/PQ", "/SQ", "/RQ", "/PQ_things", ..., "/PQ/NAME", ...}, all in [0, 1].

        Classes that occur neither in the truth nor among wrong predictions are left out, and `notes` says so.
        """
        self.notes = {}
        numbers, things = np.zeros((len(self.classes), 4)), np.zeros(len(self.classes), bool)
        for image in self._images.values():
            np.add.at(numbers, image.labels, image.numbers)
            things[image.labels] |= image.things
        overlap, hit, wrong, missed = numbers.T
        there = hit + wrong + missed > 0
        if not there.any():
            self.notes = {f"{self.task}/PQ": "no segment was judged"}
            return {}
        rq = hit / np.maximum(hit + (wrong + missed) / 2, 0.5)
        sq = overlap / np.maximum(hit, 1)
        figures = {"PQ": sq * rq, "SQ": sq, "RQ": rq}
        result = {}
        for name, kind in (("", there), ("_things", there & things), ("_stuff", there & ~things)):
            for figure, values in figures.items():
                key = f"{self.task}/{figure}{name}"
                if kind.any():
                    result[key] = float(values[kind].mean())
                else:
                    self.notes[key] = "no segment of this kind was judged"
        for label, name in enumerate(self.classes):
            if there[label]:
                result |= {f"{self.task}/{figure}/{name}": float(values[label]) for figure, values in figures.items()}
            else:
                self.notes[f"{self.task}/PQ/{name}"] = f"there is no segment of class {name!r}"
        return result


class BoundaryQuality(PanopticQuality):
    """Panoptic quality where two segments overlap no better than their boundaries do, which large ones find hard.

    Args:
        classes: the name of each label.
        width: of a boundary, as a share of the image's diagonal; at least a pixel.
        crowds: as in `PanopticQuality`.

    Attributes:
        notes: why a figure is not there, by its key; made by `result`.
    """

    task = "boundary"

    def __init__(self, classes: Sequence[str], width: float = 0.02, crowds: Crowds = "last") -> None:
        super().__init__(classes, crowds)
        if not 0 < width < 1:
            raise ConfigError("BoundaryQuality.width", "must lie between 0 and 1", f"got {width}")
        self.width = width

    def _ious(self, found: Overlaps, truth: _Segments, guess: _Segments) -> NDArray[np.float64]:
        width = max(1, round(self.width * float(np.hypot(*truth.ids.shape))))
        counts = len(truth.labels), len(guess.labels)
        true, predicted = rims(truth.ids, width), rims(guess.ids, width)
        on_rims = overlaps(true, predicted, *counts)
        # A rim in the interior of a true segment lies in no void.
        void = np.bincount(predicted[truth.ids == 0], minlength=counts[1] + 1)[1:]
        return np.minimum(found.ious(), on_rims._replace(void=void).ious())


def _read(panoptic: PanopticMap, sample: Sample, classes: int) -> _Segments:
    """A prediction, its segments numbered from 1 in the order of its list."""
    where, ids = f"image {sample.id}", panoptic.ids.cpu().numpy().astype(np.int64, copy=False)
    if ids.shape != sample.size:
        found = f"{ids.shape} instead of {sample.size}"
        raise StructureError(where, "its segments are for an image of another size", found)
    labels = np.array([each["label"] for each in panoptic.segments], np.int64)
    if ((labels < 0) | (labels >= classes)).any():
        found = f"labels run from {labels.min()} to {labels.max()} with {classes} classes"
        raise StructureError(where, "a segment is of no class", found, "number classes from 0")
    own = np.array([each["id"] for each in panoptic.segments], np.int64)
    if len(np.unique(own)) != len(own) or (own < 1).any():
        raise StructureError(where, "the ids of segments must be positive and differ", f"got {own.tolist()[:20]}")
    highest = max(int(ids.max(initial=0)), int(own.max(initial=0)))
    if ids.min(initial=0) < 0 or highest >= 2**24:
        raise StructureError(where, "ids of segments must lie in [0, 2^24)", f"got {ids.min()} to {highest}")
    if highest > len(own) or (own != np.arange(1, len(own) + 1)).any():  # else they are numbered so already
        number = np.full(highest + 1, -1, np.int64)
        number[0], number[own] = 0, np.arange(1, len(own) + 1)
        ids = number[ids]
        if (ids < 0).any():
            found = f"{int((ids < 0).sum())} pixels"
            raise StructureError(where, "some pixels are of segments that are not listed", found, "use 0 for none")
    things = np.array([bool(each["is_thing"]) for each in panoptic.segments], bool)
    return _Segments(ids, labels, things, np.zeros(len(own), bool))


def _counted(found: Overlaps, ious: NDArray[np.float64], truth: _Segments, guess: _Segments, crowds: Crowds) -> _Counts:
    same = truth.labels[:, None] == guess.labels
    match = (ious > _MATCH) & same & ~truth.crowd[:, None]
    missed = ~match.any(1) & ~truth.crowd & (found.true > 0)
    forgiven = found.void + (found.shared * (same & _forgiving(found, truth, crowds)[:, None])).sum(0)
    wrong = ~match.any(0) & (found.predicted > 0) & (2 * forgiven <= found.predicted)
    rows, columns = np.nonzero(match)
    label = np.concatenate((truth.labels[rows], guess.labels[wrong], truth.labels[missed]))
    thing = np.concatenate((truth.things[rows], guess.things[wrong], truth.things[missed]))
    numbers = np.zeros((len(label), 4))
    numbers[: len(rows), 0] = ious[rows, columns]
    kinds = np.repeat([1, 2, 3], [len(rows), int(wrong.sum()), int(missed.sum())])
    numbers[np.arange(len(label)), kinds] = 1
    labels, places = np.unique(label, return_inverse=True)
    sums, things = np.zeros((len(labels), 4)), np.zeros(len(labels), bool)
    np.add.at(sums, places, numbers)
    np.logical_or.at(things, places, thing)
    return _Counts(labels, things, sums)


def _forgiving(found: Overlaps, truth: _Segments, crowds: Crowds) -> NDArray[np.bool_]:
    """Which true segments are crowds that forgive: all, or the last of each class that has a pixel."""
    there = truth.crowd & (found.true > 0)
    if crowds == "all":
        return there
    last = np.zeros(len(there), bool)
    last[list({int(truth.labels[row]): row for row in np.flatnonzero(there)}.values())] = True
    return last
