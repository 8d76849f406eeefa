"""Sanity checks of detections against ground truth: issues of format, which lower every metric.

No torch is needed here.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from det_inspect.analysis.image_records import Floats, ImageRecord, Objects, overlaps

__all__ = ["FormatIssue", "format_issues"]

_IMAGES, _FEW_IMAGES, _OBJECTS = 200, 60, 50  # maximum numbers of images and objects to check
_FEWEST = 8  # minimum number of pairs or objects of an issue
_MIN_SCORE = 0.5  # the score from which `det predict` shows a detection

_Reading: TypeAlias = Callable[[Floats, tuple[int, int]], Floats]


@dataclass(frozen=True)
class FormatIssue:
    """A probable mistake in the format of detections or annotations.

    Attributes:
        kind: short name of the mistake.
        details: the numbers that it was concluded from.
        fix: advice on the likely cause of the mistake.
    """

    kind: str
    details: str
    fix: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.details}; {self.fix}"


def format_issues(
    images: Sequence[ImageRecord],
    classes: Sequence[str],
    unknown: Mapping[int, int] | None = None,
    category_ids: Sequence[int] | None = None,
) -> list[FormatIssue]:
    """Issues of these images; none if detections are only inaccurate.

    Args:
        images: ground truth and detections of each image.
        classes: the name of each label.
        unknown: number of detections per category id that the annotations do not list.
        category_ids: category id of each label in the annotations, if the detections have such ids.
    """
    count = sum(len(record.detections.labels) for record in images)
    issues = [*_categories(count, unknown or {}, category_ids or ()), *_scores(images, count)]
    # Crowds are regions; images without detections or without objects cannot be compared.
    comparable = [each for each in images if len(each.detections.labels) and not each.ground_truth.crowd.all()]
    sample = [_best(record) for record in comparable[:_IMAGES]]
    return issues + (list(_forms(sample)) or list(_labels(sample, classes, category_ids)))


def _best(record: ImageRecord) -> ImageRecord:
    """The image with its best detections alone, and without crowds."""
    order = np.argsort(-record.detections.scores, kind="stable")[:_OBJECTS]
    objects = np.flatnonzero(~record.ground_truth.crowd)[:_OBJECTS]
    return record._replace(ground_truth=record.ground_truth.take(objects), detections=record.detections.take(order))


def _categories(count: int, unknown: Mapping[int, int], category_ids: Sequence[int]) -> Iterator[FormatIssue]:
    if unknown:
        lost = sum(unknown.values())
        ids = ", ".join(map(str, list(unknown)[:8])) + (" ..." if len(unknown) > 8 else "")
        listed = ", ".join(map(str, category_ids[:8])) + (" ..." if len(category_ids) > 8 else "")
        details = f"{lost} of {count + lost} results are of category ids that the annotations do not list: {ids}"
        fix = f"use the ids of the annotations: {listed}"
        yield FormatIssue("categories that never match", details, fix)


def _scores(images: Sequence[ImageRecord], count: int) -> Iterator[FormatIssue]:
    objects = sum(int((~record.ground_truth.crowd).sum()) for record in images)
    if not objects:
        return
    scores = [record.detections.scores for record in images]
    best = max((float(each.max()) for each in scores if len(each)), default=None)
    if best is None:
        details = f"there is no detection at all in {len(images)} images, which hold {objects} objects"
        fix = "lower the score threshold of the model, and check that its weights were loaded"
        yield FormatIssue("nothing above the threshold", details, fix)
    elif best < _MIN_SCORE:
        details = f"the best of {count} scores is {best:.3f}, so that a threshold of {_MIN_SCORE} shows nothing"
        fix = "the weights may not have been loaded or hardly trained; or lower the threshold"
        yield FormatIssue("nothing above the threshold", details, fix)
    annotated = [record for record in images if not record.ground_truth.crowd.all()]
    empty = sum(not len(record.detections.labels) for record in annotated)
    if best is not None and len(annotated) >= _FEWEST and empty > len(annotated) / 2:
        details = f"{empty} of the {len(annotated)} images with objects have no detection"
        yield FormatIssue("images without results", details, "were results of all images written, under their own ids?")


def _forms(sample: Sequence[ImageRecord]) -> Iterator[FormatIssue]:
    """Whether far more objects are covered if boxes are read in another way or scaled."""
    objects = sum(len(record.ground_truth.labels) for record in sample)
    if objects < _FEWEST:
        return
    plain = _covered(sample, "", "")
    if plain / objects >= 0.5:
        return
    for kind, readings in (("other form of boxes", _FORMS), ("other scale of boxes", _SCALES)):
        tried = {(side, name): _covered(sample, side, name) for name in readings for side in _ENTRIES}
        (side, name), covered = max(tried.items(), key=lambda item: item[1])
        if covered >= _FEWEST and covered / objects >= max(0.3, 2.5 * plain / objects):
            details = (
                f"{plain / objects:.0%} of {objects} objects are covered by a detection, but {covered / objects:.0%}"
            )
            details += f" if the boxes of the {_ENTRIES[side]} {_READ[name]}"
            fix = "write boxes as x, y, width, height in pixels of the image as stored; "
            fix += f"check those of the {_ENTRIES[side]}"
            yield FormatIssue(kind, details, fix)
            return
    few = sample[:_FEW_IMAGES]
    objects, plain = sum(len(record.ground_truth.labels) for record in few), _covered(few, "", "")
    scale, covered = _common_scale(few)
    if covered >= _FEWEST and covered / objects >= max(0.3, 2.5 * plain / objects):
        details = f"{plain / objects:.0%} of {objects} objects are covered by a detection, but {covered / objects:.0%}"
        details += f" if those of the detections are scaled by about {scale}"
        fix = "give boxes in pixels of the image as stored, not of the resized one"
        yield FormatIssue("other scale of boxes", details, fix)


def _within(boxes: Floats, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask of boxes that are plausible in an image of `size`, hardly exceeding it; all if the size is unknown."""
    height, width = size
    slack = np.array((width, height, width, height)) * 0.1
    inside = ((boxes >= -slack) & (boxes <= 11 * slack)).all(1)
    return np.asarray(inside | (not height or not width))


def _corners(x: Floats, y: Floats, right: Floats, bottom: Floats) -> Floats:
    return np.stack((x, y, right, bottom), -1)


# How boxes (..., 4), read as corners of x, y, width, height, change if they were stored in another form.
_FORMS: dict[str, _Reading] = {
    "xyxy": lambda b, size: _corners(b[:, 0], b[:, 1], b[:, 2] - b[:, 0], b[:, 3] - b[:, 1]),
    "xywh": lambda b, size: _corners(b[:, 0], b[:, 1], b[:, 0] + b[:, 2], b[:, 1] + b[:, 3]),
    "cxcywh": lambda b, size: np.concatenate((1.5 * b[:, :2] - b[:, 2:] / 2, (b[:, :2] + b[:, 2:]) / 2), 1),
    "yxhw": lambda b, size: b[:, [1, 0, 3, 2]],
}
_SCALES: dict[str, _Reading] = {
    "shares": lambda b, size: b * (size[1], size[0], size[1], size[0]),
    "thousandths": lambda b, size: b * (size[1], size[0], size[1], size[0]) / 1000,
}
_ENTRIES = {"detections": "detections", "ground_truth": "ground truth"}
_SIDES: dict[str, Callable[[tuple[int, int]], int]] = {"": lambda size: 1, "shorter": min, "longer": max}
_READ = {
    "xyxy": "are two corners, which were read as x, y, width, height",
    "xywh": "are x, y, width, height, which were read as two corners",
    "cxcywh": "begin with the centre, which was read as a corner",
    "yxhw": "give y before x",
    "shares": "are shares of the image's width and height",
    "thousandths": "are thousandths of the image's width and height",
}


def _covered(sample: Sequence[ImageRecord], side: str, reading: str) -> int:
    """How many objects have a detection on them if the boxes of `side` are read in another form."""
    read = (_FORMS | _SCALES).get(reading)
    count = 0
    for record in sample:
        sides = {"detections": record.detections, "ground_truth": record.ground_truth}
        if read is not None:
            objects = sides[side]
            boxes = read(objects.boxes, record.size)
            within = _within(boxes, record.size)
            sides[side] = objects.take(within)._replace(boxes=boxes[within])
        count += _hits(**sides)
    return count


def _hits(detections: Objects, ground_truth: Objects) -> int:
    return int((overlaps(detections, ground_truth).max(0, initial=0.0) >= 0.5).sum())


def _common_scale(sample: Sequence[ImageRecord]) -> tuple[str, int]:
    """The factor by which detections fit best, one for all or one that brings a side of each image to one length."""
    factors = np.exp(np.arange(np.log(0.1), np.log(10), 0.06))
    best = ("", -1)
    for name, length in _SIDES.items():
        # Boxes of images resized so that one side has the length L are too large by L / side.
        lengths = [length(record.size) or 1 for record in sample]
        unit = float(np.median(lengths))
        for factor in factors:
            count = 0
            for record, side in zip(sample, lengths, strict=True):
                boxes = record.detections.boxes * (factor * side / unit)
                count += _hits(record.detections._replace(boxes=boxes), record.ground_truth)
            if count > best[1]:
                of_resized = f", as of images whose {name} side is {unit / factor:.0f}" if name else ""
                best = (f"{factor:.2g}{of_resized}", count)
    return best


def _labels(
    sample: Sequence[ImageRecord], classes: Sequence[str], category_ids: Sequence[int] | None
) -> Iterator[FormatIssue]:
    """Whether detections lie on objects of a class that is always the same other one."""
    table = _paired(sample, len(classes))
    pairs = int(table.sum())
    agree = float(np.trace(table))
    # For each predicted label its most frequent ground-truth label; a label with one match is not considered.
    meant = {label: int(table[:, label].argmax()) for label in range(len(classes)) if table[:, label].sum() >= 2}
    explained = float(sum(table[true, label] for label, true in meant.items()))
    if pairs < _FEWEST or agree > 0.5 * pairs or explained < 0.6 * pairs or explained < 2 * agree:
        return
    share = f"{agree / pairs:.0%} of {pairs} detections on an object have its class"
    shifts = Counter[int]()
    for name, of_label in (("label", range(len(classes))), ("category id", category_ids or ())):
        shifts = Counter({shift: sum(_shifted(table, of_label, shift)) for shift in (-1, 1)}) if of_label else Counter()
        for shift, count in shifts.most_common(1):
            if count >= 0.6 * pairs:
                details = f"{share}, but {count / pairs:.0%} have the {name} {'after' if shift > 0 else 'before'} it"
                fix = "count labels from 0, without one for the background, in the order of the classes"
                yield FormatIssue("labels off by one", details, fix)
                return
    moved = sorted(((table[true, label], label, true) for label, true in meant.items() if label != true), reverse=True)
    named = ", ".join(f"{classes[label]!r} on {classes[true]!r}" for _, label, true in moved[:4])
    details = f"{share}, but {explained / pairs:.0%} have one that always stands for it: {named}"
    yield FormatIssue(
        "other order of classes", details, "compare the names of the model's classes with those of the data"
    )


def _paired(sample: Sequence[ImageRecord], count: int) -> NDArray[np.int64]:
    """Confusion matrix of matched pairs: ground-truth labels in rows, predicted ones in columns."""
    table = np.zeros((count, count), np.int64)
    for record in sample:
        ious = overlaps(record.detections, record.ground_truth)
        for row in range(len(ious)):
            place = int(ious[row].argmax())
            if ious[row, place] >= 0.5:
                table[record.ground_truth.labels[place], record.detections.labels[row]] += 1
                ious[:, place] = 0.0
    return table


def _shifted(table: NDArray[np.int64], numbers: Sequence[int], shift: int) -> Iterator[int]:
    """The entries whose predicted label is the ground-truth label plus `shift`."""
    place = {number: label for label, number in enumerate(numbers)}
    for number, label in place.items():
        if number + shift in place:
            yield int(table[label, place[number + shift]])
