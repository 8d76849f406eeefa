"""Data of one `det view`: pictures with defects and predictions; and the selection of pictures by filters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from det_inspect.view.comparison import Comparison, Thresholds
from det_inspect.view.corrections import Corrections
from det_inspect.view.defects import Defects
from det_inspect.view.picture_set import SIZES, Picture, PictureSet
from det_inspect.view.predictions import Predictions
from det_inspect.view.run_curves import Runs
from det_inspect.view.shapes import shape_of
from det_inspect.view.thumbnails import Thumbnails

__all__ = ["Filters", "Session"]

_MOST_OBJECTS = 2000


@dataclass(frozen=True)
class Filters:
    """Which pictures are listed; "" or None does not filter.

    Attributes:
        split: name of the split of listed pictures.
        label: pictures with an object of this class; with `size`, of that size.
        size: size of an object, one of `SIZES`.
        defect: kind of a defect, or "any".
        text: part of a file name, in any case.
        marked: pictures with annotations that are marked as bad.
        sort: "file", "name", "objects", "defects", "worst" (errors of the model) or "difference" (of the errors
            of the first two models).
        thresholds: kinds of detections, and what counts as one.
    """

    split: str = ""
    label: int | None = None
    size: str = ""
    defect: str = ""
    text: str = ""
    marked: bool = False
    sort: str = "file"
    thresholds: Thresholds = field(default_factory=Thresholds)


class Session:
    """A set of pictures as plain data for the page.

    Args:
        title: name of the data for the page.
        pictures: pictures and annotations of the data.
        cache: folder in which thumbnails are stored.
        predictions: predictions of each model, in the order of the page.
        runs: folders of runs whose curves are shown.
        output: folder of corrected copies and exported pictures.
        pixels: whether the check for defects decodes all pictures.
    """

    def __init__(
        self,
        title: str,
        pictures: PictureSet,
        cache: Path,
        predictions: Sequence[Predictions] = (),
        runs: Sequence[Path] = (),
        output: Path = Path(),
        pixels: bool = False,
    ) -> None:
        self.title, self.set = title, pictures
        self.thumbnails = Thumbnails(cache / "thumbnails")
        self.defects = Defects(pictures, pixels)
        self.corrections = Corrections(pictures, output, cache / "marks")
        self.runs = Runs(runs)
        self.has_runs = bool(runs)
        self.comparison = Comparison(pictures, predictions)
        self._counts = pictures.counts()

    def about(self) -> dict[str, Any]:
        """The set in numbers."""
        objects = np.bincount(self.set.label, minlength=len(self.set.classes)).tolist()
        splits: dict[str, int] = {}
        for picture in self.set.pictures:
            splits[picture.split] = splits.get(picture.split, 0) + 1
        classes = [
            {"name": name, "objects": count, **points}
            for name, count, points in zip(self.set.classes, objects, self.set.keypoints, strict=True)
        ]
        sizes = np.bincount(self.set.object_sizes(), minlength=len(SIZES)).tolist()
        return {
            "title": self.title,
            "pictures": len(self.set.pictures),
            "objects": len(self.set.records),
            "classes": classes,
            "splits": splits,
            "sizes": dict(zip(SIZES, sizes, strict=True)),
            "models": self.comparison.about(),
            "runs": self.has_runs,
        }

    def select(self, filters: Filters) -> list[int]:
        """Pictures that pass all filters, in order."""
        mask = np.ones(len(self.set.pictures), np.bool_)
        if filters.label is not None or filters.size:
            rows = np.ones(len(self.set.records), np.bool_)
            if filters.label is not None:
                rows &= self.set.label == filters.label
            if filters.size:
                rows &= self.set.object_sizes() == SIZES.index(filters.size)
            mask &= self.set.pictures_with(rows)
        listed = self.comparison.mask(filters.thresholds, filters.label)
        if listed is not None:
            mask &= listed
        if filters.defect:
            mask &= self._only(self.defects.pictures_with(filters.defect))
        if filters.marked:
            mask &= self._only(self.corrections.pictures())
        order = np.flatnonzero(mask).tolist()
        text = filters.text.lower()
        pictures = self.set.pictures
        if filters.split:
            order = [index for index in order if pictures[index].split == filters.split]
        if text:
            order = [index for index in order if text in pictures[index].name.lower()]
        return self._sorted(order, filters)

    def _only(self, pictures: set[int]) -> NDArray[np.bool_]:
        mask = np.zeros(len(self.set.pictures), np.bool_)
        mask[list(pictures)] = True
        return mask

    def _sorted(self, order: list[int], filters: Filters) -> list[int]:
        sort = filters.sort
        if sort in ("worst", "difference") and self.comparison.assessments:
            rank = self.comparison.errors if sort == "worst" else self.comparison.differences
            values = rank(filters.thresholds)
            return sorted(order, key=lambda index: -float(values[index]))
        if sort == "name":
            return sorted(order, key=lambda index: self.set.pictures[index].name)
        if sort == "objects":
            return sorted(order, key=lambda index: -int(self._counts[index]))
        if sort == "defects":
            return sorted(order, key=lambda index: -len(self.defects.by_picture.get(index, ())))
        return order

    def items(self, order: Sequence[int], thresholds: Thresholds) -> list[dict[str, Any]]:
        """Pictures of the list, with the numbers of errors of each model."""
        for assessment in self.comparison.assessments:
            assessment.predictions.want(order)
        return [{**self.item(index), "errors": self.comparison.counts(index, thresholds)} for index in order]

    def item(self, index: int) -> dict[str, Any]:
        """One picture of the list."""
        picture = self.set.pictures[index]
        defects = len(self.defects.by_picture.get(index, ()))
        return {**_facts(index, picture), "objects": int(self._counts[index]), "defects": defects}

    def details(self, index: int, iou: float = 0.5) -> dict[str, Any]:
        """One picture with its objects and defects, and the detections of each model, matched at an IoU."""
        for assessment in self.comparison.assessments:
            assessment.predictions.want([index])
        picture, rows = self.set.pictures[index], self.set.objects_of(index)
        defects = self.defects.by_picture.get(index, [])
        return {
            **self.item(index),
            "path": str(picture.path),
            "objects": [self._object(int(row), picture) for row in rows[:_MOST_OBJECTS]],
            "not_shown": max(0, len(rows) - _MOST_OBJECTS),
            "models": self.comparison.details(index, iou),
            "defects": [{"kind": each.kind, "text": each.text, "box": each.box} for each in defects],
        }

    def _object(self, row: int, picture: Picture) -> dict[str, Any]:
        record: Mapping[str, Any] = self.set.records[row]
        number = record.get("id")
        return {
            "row": row,
            "bad": row in self.corrections.rows,
            "id": number if isinstance(number, int | str) else None,
            "label": int(self.set.label[row]),
            "size": SIZES[int(self.set.object_sizes()[row])],
            **shape_of(record, picture.size),
        }

    def close(self) -> None:
        """End the threads."""
        self.defects.stop()
        for assessment in self.comparison.assessments:
            assessment.predictions.close()


def _facts(index: int, picture: Picture) -> dict[str, Any]:
    height, width = picture.size
    facts = {"index": index, "name": picture.name, "split": picture.split}
    return {**facts, "id": picture.id, "width": width, "height": height}
