"""Checks of datasets that report all defects instead of stopping at the first."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from det_core.contracts import Dataset
from det_core.data.formats.listing import Listing
from det_core.data.images import image_size, read_image
from det_core.data.skipped_entries import left_out, unusable
from det_core.errors import DataError, DetError
from det_core.recipes import Factory
from det_core.structures import Sample

from det_inspect.datasets.check_listing import Rules, examine_listing
from det_inspect.datasets.copies import Copies
from det_inspect.datasets.report import Defect, Example, Report, SplitReport

__all__ = ["Source", "check"]

Track = Callable[[Iterable[Any], int, str], Iterable[Any]]
_EXAMPLES = 8


@dataclass(frozen=True)
class Source:
    """A split as a recipe reads it.

    Attributes:
        listing: function that lists the files of the split, unchecked.
        rules: rules of the split's reader.
        dataset: unbuilt dataset; built to check that the reader accepts it, and to count skipped entries.
    """

    listing: Callable[[], Listing]
    rules: Rules
    dataset: Callable[[], Dataset]


def check(
    sources: Mapping[str, Callable[[], Listing] | Source | Factory[Dataset]],
    pixels: bool = True,
    track: Track | None = None,
) -> Report:
    """Check each split, and search for images that two splits share.

    Args:
        sources: function for each split that lists its files, with the rules of its reader, if any; or, for readers
            that cannot list, the dataset, whose samples are read one by one.
        pixels: whether to decode every image; else their heads are read, which finds neither damage nor copies.
        track: given images, their number and the name of the split, gives them again, to show how far it is.
    """
    splits: dict[str, SplitReport] = {}
    defects: list[Defect] = []
    copies = Copies()
    for name, source in sources.items():
        splits[name] = split = SplitReport(read=pixels)
        follow: Any = (lambda items, count: items) if track is None else _named(track, name)
        try:
            if isinstance(source, Factory):
                defects += _of_samples(source(), name, split, copies, follow)
            else:
                if isinstance(source, Source):
                    images = examine_listing(source.listing(), name, split, defects, source.rules)
                    defects += _as_read(source, name, split, any(defect.split == name for defect in defects))
                else:
                    images = examine_listing(source(), name, split, defects)
                defects += _of_files(images, name, split, copies, pixels, follow)
        except DetError as error:
            defects.append(Defect("unreadable file", name, error.where, "", _words(error)))
    return Report(splits, [*defects, *copies.nearly_equal()])


def _named(track: Track, name: str) -> Callable[[Iterable[Any], int], Iterable[Any]]:
    return lambda items, count: track(items, count, name)


def _as_read(source: Source, name: str, split: SplitReport, in_listing: bool) -> Iterator[Defect]:
    """Errors of the reader for the split that are not yet `in_listing`; skipped entries are counted."""
    try:
        split.left_out = left_out(source.dataset())
    except DetError as error:
        if not in_listing:
            yield Defect("unreadable file", name, error.where, "", _words(error))


def _of_files(
    images: Mapping[Path, tuple[Any, Example]],
    name: str,
    split: SplitReport,
    copies: Copies,
    pixels: bool,
    follow: Any,
) -> Iterator[Defect]:
    """Check the images of a listing, each with its entry and its objects."""
    every = max(1, len(images) // _EXAMPLES)
    for number, (path, (entry, example)) in enumerate(follow(images.items(), len(images))):
        listed = (entry["height"], entry["width"])
        if not path.exists():
            yield Defect("missing image", name, str(path), str(entry["id"]), "the file is listed, but not there")
            continue
        try:
            picture = read_image(path) if pixels else None
            size = image_size(path) if picture is None else (picture.shape[1], picture.shape[2])
        except DataError as error:
            yield Defect("unreadable image", name, str(path), str(entry["id"]), _words(error))
            continue
        if size != listed:
            text = f"the image has {size[1]} x {size[0]} upright pixels, its entry has {listed[1]} x {listed[0]}"
            yield Defect("size differs", name, str(path), str(entry["id"]), text, path)
        if picture is not None:
            yield from copies.add(picture, name, path, entry["id"])
        if number % every == 0 and len(split.examples) < _EXAMPLES:
            split.examples.append(example)


def _of_samples(dataset: Dataset, name: str, split: SplitReport, copies: Copies, follow: Any) -> Iterator[Defect]:
    """Check the samples of a dataset whose reader cannot list its files."""
    split.classes, split.left_out = tuple(dataset.classes), left_out(dataset)
    for sentence in unusable(dataset):
        yield Defect("bad entry", name, str(getattr(dataset, "annotations", type(dataset).__name__)), "", sentence)
    every = max(1, len(dataset) // _EXAMPLES)
    ids: defaultdict[Any, int] = defaultdict(int)
    for index in follow(range(len(dataset)), len(dataset)):
        try:
            sample = dataset[index]
        except DetError as error:
            yield Defect("unreadable image", name, error.where, f"number {index}", _words(error))
            continue
        except Exception as error:  # a third-party reader may raise anything
            text = f"{type(error).__name__}: {error}"
            yield Defect("unreadable image", name, type(dataset).__name__, f"number {index}", text)
            continue
        where = sample.path or f"image number {index}"
        ids[sample.id] += 1
        if ids[sample.id] == 2:
            yield Defect("id used twice", name, str(where), str(sample.id), "has an id that another image has too")
        yield from copies.add(sample.image, name, where, sample.id)
        yield from _of_targets(sample, name, str(where), split)
        if index % every == 0 and len(split.examples) < _EXAMPLES and sample.path is not None:
            split.examples.append(_example_of(sample))


def _of_targets(sample: Sample, name: str, where: str, split: SplitReport) -> Iterator[Defect]:
    """Count the objects of a sample, and record their defects."""
    split.sizes.append(sample.size)
    targets = sample.targets
    split.empty += targets is None or not len(targets)
    if targets is None:
        return
    labels, boxes = targets.labels.tolist(), targets.boxes.tolist()
    split.objects.update(labels)
    split.images_with.update(set(labels))
    split.crowds += 0 if targets.crowd is None else int(targets.crowd.sum())
    split.masks += 0 if targets.masks is None else len(targets)
    split.keypoints += 0 if targets.keypoints is None else int((targets.keypoints[..., 2] > 0).any(1).sum())
    objects = set()
    for number, (label, box) in enumerate(zip(labels, boxes, strict=True)):
        sides = box[2:4] if len(box) == 5 else (box[2] - box[0], box[3] - box[1])
        split.areas.append(max(0.0, sides[0] * sides[1]))
        kind, text = "", ""
        if not all(map(math.isfinite, box)):
            kind, text = "bad box", f"has the box {box}"
        elif not 0 <= label < len(split.classes):
            kind, text = "unknown category", f"has the label {label} of {len(split.classes)} classes"
        elif min(sides) <= 0:
            kind = "empty box" if min(sides) == 0 else "negative box"
            text = f"has a box of width {sides[0]:g} and height {sides[1]:g}"
        elif (label, *box) in objects:
            kind, text = "duplicate box", "has the class and the box of another one"
        objects.add((label, *box))
        if kind:
            yield Defect(kind, name, where, str(sample.id), f"object {number} {text}", sample.path)


def _example_of(sample: Sample) -> Example:
    assert sample.path is not None
    if sample.targets is None or sample.targets.boxes.shape[1] == 5:
        return Example(sample.path, [], [])
    boxes = [(x0, y0, x1, y1) for x0, y0, x1, y1 in sample.targets.boxes.tolist()]
    return Example(sample.path, boxes, sample.targets.labels.tolist())


def _words(error: DetError) -> str:
    return "; ".join(part for part in (error.problem, error.found) if part)
