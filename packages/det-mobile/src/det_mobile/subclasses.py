"""Annotation files whose objects have sub-classes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from det_core.data import CocoDataset
from det_core.errors import DataError

from det_mobile.heads.subclass import SUBCLASS

__all__ = ["SubclassCoco"]


class SubclassCoco(CocoDataset):
    """A file in the COCO format with the sub-class of each object as `extras: {subclass_id: ...}`, as D2Go reads it.

    Args:
        images: folder that file names start from.
        annotations: path of the JSON file.
        classes: names of the categories to keep; None keeps all.
        keep_empty: whether images without objects belong to the dataset.

    Raises:
        DataError: as of `CocoDataset`, or an object has no sub-class.
    """

    def __init__(
        self, images: Path, annotations: Path, classes: Sequence[str] | None = None, keep_empty: bool = True
    ) -> None:
        super().__init__(images, annotations, classes, keep_empty)
        by_id = {each["id"]: each for each in self.listing(images, annotations).content.get("annotations", ())}
        numbers = [_subclass(by_id[number]) for number in self._index.object_ids.tolist()]
        if absent := [str(n) for n, value in zip(self._index.object_ids, numbers, strict=True) if value is None]:
            some = ", ".join(absent[:5]) + (" ..." if len(absent) > 5 else "")
            problem = f"{len(absent)} annotations have no sub-class"
            raise DataError(str(annotations), problem, f"with the ids {some}", "add extras: {subclass_id: NUMBER}")
        self._index = replace(self._index, marks={**self._index.marks, SUBCLASS: np.array(numbers, np.int64)})


def _subclass(annotation: dict[str, object]) -> int | None:
    extras = annotation.get("extras")
    number = extras.get("subclass_id") if isinstance(extras, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None
