"""Sanity checks of detections against ground truth: warnings about mistakes of format that lower every metric.

No torch is needed here.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from det_inspect.analysis.image_records import Floats, ImageRecord, Objects, overlaps

__all__ = ["Suspicion", "suspicions"]

_IMAGES, _FEW_IMAGES, _OBJECTS = 200, 60, 50  # maximum numbers of images and objects to check
_FEWEST = 8  # pairs or objects that an accusation needs
_SHOWN = 0.5  # the score from which `det predict` shows a detection

_Reading: TypeAlias = Callable[[Floats, tuple[int, int]], Floats]


@dataclass(frozen=True)
class Suspicion:
    """A warning about a probable mistake of format.

    Attributes:
        kind: short name of the mistake.
        evidence: numbers that support the warning.
        fix: what to check or change.
    """

    kind: str
    evidence: str
    fix: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.evidence}; {self.fix}"


def suspicions(
    images: Sequence[ImageRecord],
    classes: Sequence[str],
    unknown: Mapping[int, int] | None = None,
    category_ids: Sequence[int] | None = None,
) -> list[Suspicion]:
    """Warnings about these images; none if detections are only inaccurate.

    Args:
        images: recorded images.
        classes: the name of each label.
        unknown: number of detections per category id that the annotations do not list.
        category_ids: category id of each label in the annotations, if the detections have such ids.
    """
    found = sum(len(seen.found.labels) for seen in images)
    made = [*_categories(found, unknown or {}, category_ids or ()), *_scores(images, found)]
    # Crowds are regions; images without detections or without objects cannot be compared.
    sample = [_best(seen) for seen in images if len(seen.found.labels) and not seen.truth.crowd.all()][:_IMAGES]
    return made + (list(_forms(sample)) or list(_labels(sample, classes, category_ids)))


def _best(seen: ImageRecord) -> ImageRecord:
    """The image with its best detections alone, and without crowds."""
    order = np.argsort(-seen.found.scores, kind="stable")[:_OBJECTS]
    truth = seen.truth.take(~seen.truth.crowd)
    return seen._replace(truth=truth.take(np.arange(min(len(truth.labels), _OBJECTS))), found=seen.found.take(order))


def _categories(found: int, unknown: Mapping[int, int], known: Sequence[int]) -> Iterator[Suspicion]:
    if unknown:
        lost = sum(unknown.values())
        ids = ", ".join(map(str, list(unknown)[:8])) + (" ..." if len(unknown) > 8 else "")
        listed = ", ".join(map(str, known[:8])) + (" ..." if len(known) > 8 else "")
        evidence = f"{lost} of {found + lost} results are of category ids that the annotations do not list: {ids}"
        fix = f"use the ids of the annotations: {listed}"
        yield Suspicion("categories that never match", evidence, fix)


def _scores(images: Sequence[ImageRecord], found: int) -> Iterator[Suspicion]:
    objects = sum(int((~seen.truth.crowd).sum()) for seen in images)
    if not objects:
        return
    best = max((float(seen.found.scores.max()) for seen in images if len(seen.found.scores)), default=None)
    if best is None:
        evidence = f"there is no detection at all in {len(images)} images, which hold {objects} objects"
        fix = "lower the score threshold of the model, and see whether its weights were loaded"
        yield Suspicion("nothing above the threshold", evidence, fix)
    elif best < _SHOWN:
        evidence = f"the best of {found} scores is {best:.3f}, so that a threshold of {_SHOWN} shows nothing"
        fix = "the weights may not have been loaded or hardly trained; or lower the threshold"
        yield Suspicion("nothing above the threshold", evidence, fix)
    there = [seen for seen in images if not seen.truth.crowd.all()]
    empty = sum(not len(seen.found.labels) for seen in there)
    if best is not None and len(there) >= _FEWEST and empty > len(there) / 2:
        evidence = f"{empty} of the {len(there)} images with objects have no detection"
        yield Suspicion("images without results", evidence, "were results of all images written, under their own ids?")


def _forms(sample: Sequence[ImageRecord]) -> Iterator[Suspicion]:
    """Whether far more objects are covered if boxes are read in another way or scaled."""
    objects = sum(len(seen.truth.labels) for seen in sample)
    if objects < _FEWEST:
        return
    plain = _covered(sample, "", "")
    if plain / objects >= 0.5:
        return
    for kind, readings in (("other form of boxes", _FORMS), ("other scale of boxes", _SCALES)):
        tried = {(side, name): _covered(sample, side, name) for name in readings for side in ("found", "truth")}
        (side, name), covered = max(tried.items(), key=lambda item: item[1])
        if covered >= _FEWEST and covered / objects >= max(0.3, 2.5 * plain / objects):
            whose = "of the detections" if side == "found" else "of the truth"
            evidence = (
                f"{plain / objects:.0%} of {objects} objects are covered by a detection, but {covered / objects:.0%}"
            )
            evidence += f" if the boxes {whose} {_READ[name]}"
            fix = f"write boxes as x, y, width, height in pixels of the image as stored; look at those {whose}"
            yield Suspicion(kind, evidence, fix)
            return
    few = sample[:_FEW_IMAGES]
    objects, plain = sum(len(seen.truth.labels) for seen in few), _covered(few, "", "")
    said, covered = _common_scale(few)
    if covered >= _FEWEST and covered / objects >= max(0.3, 2.5 * plain / objects):
        evidence = f"{plain / objects:.0%} of {objects} objects are covered by a detection, but {covered / objects:.0%}"
        evidence += f" if those of the detections are scaled by about {said}"
        fix = "give boxes in pixels of the image as stored, not of the resized one"
        yield Suspicion("other scale of boxes", evidence, fix)


def _within(boxes: Floats, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask of boxes that are plausible in an image of `size`, hardly exceeding it; all if the size is unknown."""
    height, width = size
    slack = np.array((width, height, width, height)) * 0.1
    inside = ((boxes >= -slack) & (boxes <= 11 * slack)).all(1)
    return np.asarray(inside | (not height or not width))


def _corners(x: Floats, y: Floats, right: Floats, bottom: Floats) -> Floats:
    return np.stack((x, y, right, bottom), -1)


# How boxes (..., 4), read as corners of x, y, width, height, look if what was read as a width was something else.
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
    """How many objects have a detection on them if the boxes of a side are read in another way."""
    read = (_FORMS | _SCALES).get(reading)
    count = 0
    for seen in sample:
        sides = {"found": seen.found, "truth": seen.truth}
        if read is not None:
            boxes = read(sides[side].boxes, seen.size)
            sides[side] = sides[side].take(_within(boxes, seen.size))._replace(boxes=boxes[_within(boxes, seen.size)])
        count += _hits(sides["found"], sides["truth"])
    return count


def _hits(found: Objects, truth: Objects) -> int:
    return int((overlaps(found, truth).max(0, initial=0.0) >= 0.5).sum())


def _common_scale(sample: Sequence[ImageRecord]) -> tuple[str, int]:
    """The factor by which detections fit best, one for all or one that brings a side of each image to one length."""
    factors = np.exp(np.arange(np.log(0.1), np.log(10), 0.06))
    best = ("", -1)
    for name, length in _SIDES.items():
        # Boxes of images resized so that one side has the length L are too large by L / side.
        lengths = [length(seen.size) or 1 for seen in sample]
        unit = float(np.median(lengths))
        for factor in factors:
            count = 0
            for seen, own in zip(sample, lengths, strict=True):
                count += _hits(seen.found._replace(boxes=seen.found.boxes * (factor * own / unit)), seen.truth)
            if count > best[1]:
                of_resized = f", as of images whose {name} side is {unit / factor:.0f}" if name else ""
                best = (f"{factor:.2g}{of_resized}", count)
    return best


def _labels(
    sample: Sequence[ImageRecord], classes: Sequence[str], category_ids: Sequence[int] | None
) -> Iterator[Suspicion]:
    """Whether detections lie on objects of a class that is always the same other one."""
    table = _paired(sample, len(classes))
    pairs = int(table.sum())
    agree = float(np.trace(table))
    # For each predicted label its most frequent ground-truth label; a label with one match is not considered.
    meant = {label: int(table[:, label].argmax()) for label in range(len(classes)) if table[:, label].sum() >= 2}
    explained = float(sum(table[true, found] for found, true in meant.items()))
    if pairs < _FEWEST or agree > 0.5 * pairs or explained < 0.6 * pairs or explained < 2 * agree:
        return
    share = f"{agree / pairs:.0%} of {pairs} detections on an object have its class"
    shifts = Counter[int]()
    for name, of_label in (("label", range(len(classes))), ("category id", category_ids or ())):
        shifts = Counter({shift: sum(_shifted(table, of_label, shift)) for shift in (-1, 1)}) if of_label else Counter()
        for shift, count in shifts.most_common(1):
            if count >= 0.6 * pairs:
                evidence = f"{share}, but {count / pairs:.0%} have the {name} {'after' if shift > 0 else 'before'} it"
                fix = "count labels from 0, without one for the background, in the order of the classes"
                yield Suspicion("labels off by one", evidence, fix)
                return
    moved = sorted(((table[true, found], found, true) for found, true in meant.items() if found != true), reverse=True)
    named = ", ".join(f"{classes[found]!r} on {classes[true]!r}" for _, found, true in moved[:4])
    evidence = f"{share}, but {explained / pairs:.0%} have one that always stands for it: {named}"
    yield Suspicion(
        "other order of classes", evidence, "compare the names of the model's classes with those of the data"
    )


def _paired(sample: Sequence[ImageRecord], count: int) -> NDArray[np.int64]:
    """How many detections of each found class (column) lie on objects of each true one (row), the best first."""
    table = np.zeros((count, count), np.int64)
    for seen in sample:
        shared = overlaps(seen.found, seen.truth)
        for row in range(len(shared)):
            place = int(shared[row].argmax())
            if shared[row, place] >= 0.5:
                table[seen.truth.labels[place], seen.found.labels[row]] += 1
                shared[:, place] = 0.0
    return table


def _shifted(table: NDArray[np.int64], numbers: Sequence[int], shift: int) -> Iterator[int]:
    """The entries whose predicted label is the ground-truth label plus `shift`."""
    place = {number: label for label, number in enumerate(numbers)}
    for number, label in place.items():
        if number + shift in place:
            yield int(table[label, place[number + shift]])
