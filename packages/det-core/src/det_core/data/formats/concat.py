"""Several datasets as one."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from det_core.contracts import Dataset, Indexed
from det_core.data.loading.samplers import require_indexed
from det_core.errors import ConfigError
from det_core.structures import Sample, Size

__all__ = ["ConcatDataset"]


class ConcatDataset:
    """The images of several datasets, one after the other, such as VOC 2007 and 2012.

    Where an id occurs in two of them, as those of files that each count from 1, ids become "NUMBER/ID", with the number
    of the dataset from 0: no prediction or proposal is taken for one of another image.

    Args:
        datasets: at least one; their classes are the same, and so are their keypoints.

    Attributes:
        evaluators: those of the first.
        qualified: whether ids begin with the number of their dataset and a slash, because two datasets use one id.
        category_ids: those of the first, if all agree; empty otherwise.
    """

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        if not datasets:
            raise ConfigError("ConcatDataset.datasets", "must name at least one")
        self.datasets = tuple(datasets)
        first = self.datasets[0]
        for place, other in enumerate(self.datasets):
            for name in ("classes", "keypoint_names"):
                mine, theirs = (list(getattr(each, name, ())) for each in (first, other))
                if mine != theirs:
                    where, found = f"ConcatDataset.datasets[{place}]", f"{theirs[:8]} and {mine[:8]}"
                    raise ConfigError(where, f"has other {name.replace('_', ' ')} than the first", found)
        self.classes, self.evaluators = first.classes, first.evaluators
        self.keypoint_names = tuple(getattr(first, "keypoint_names", ()))
        self.flip_pairs = tuple(getattr(first, "flip_pairs", ()))
        ids = {tuple(getattr(each, "category_ids", ())) for each in self.datasets}
        self.category_ids: tuple[int, ...] = ids.pop() if len(ids) == 1 else ()
        self.num_objects, self.num_learnable = (_sum(self.datasets, name) for name in ("num_objects", "num_learnable"))
        self.annotations = ", ".join(str(getattr(each, "annotations", type(each).__name__)) for each in self.datasets)
        self._ends = tuple(accumulate(len(each) for each in self.datasets))
        self.qualified = _share_ids(self.datasets)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        """The sample as its own dataset gives it, with an id of its own; negative indices count from the end."""
        dataset, own = self._place(index)
        sample = dataset[own]
        return replace(sample, id=f"{self._number(index)}/{sample.id}") if self.qualified else sample

    def id_of(self, index: int) -> int | str:
        """The id of an image, without reading it, where its dataset knows that."""
        dataset, own = self._place(index)
        found: int | str = dataset.id_of(own)  # type: ignore[attr-defined]
        return f"{self._number(index)}/{found}" if self.qualified else found

    def path(self, index: int) -> Path | str:
        """The file of an image, or its place in its dataset where that does not say."""
        dataset, own = self._place(index)
        path = getattr(dataset, "path", None)
        return path(own) if callable(path) else f"image number {own} of {type(dataset).__name__}"

    def size_of(self, index: int) -> Size:
        """(height, width), as the image's dataset says."""
        dataset, own = self._indexed(index)
        return dataset.size_of(own)

    def labels_of(self, index: int) -> Sequence[int]:
        """The label of each object, as the image's dataset says."""
        dataset, own = self._indexed(index)
        return dataset.labels_of(own)

    def _indexed(self, index: int) -> tuple[Indexed, int]:
        dataset, own = self._place(index)
        return require_indexed(dataset, type(self).__name__), own

    def _place(self, index: int) -> tuple[Dataset, int]:
        number = self._number(index)
        index = index + len(self) if index < 0 else index
        return self.datasets[number], index - (self._ends[number - 1] if number else 0)

    def _number(self, index: int) -> int:
        """Which of the datasets an image is of, from 0."""
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(index)
        return bisect_right(self._ends, index)


def _sum(datasets: Sequence[Dataset], name: str) -> int | None:
    """The sum of a count over all datasets; None if one does not know it."""
    counts = [getattr(each, name, None) for each in datasets]
    return None if None in counts else sum(filter(None, counts))


def _share_ids(datasets: Sequence[Dataset]) -> bool:
    """Whether an image of one dataset may have the id of an image of another, or a dataset does not know its ids."""
    seen: set[int | str] = set()
    for dataset in datasets if len(datasets) > 1 else ():
        id_of = getattr(dataset, "id_of", None)
        if not callable(id_of):
            return True
        own = {id_of(index) for index in range(len(dataset))}
        if not seen.isdisjoint(own):
            return True
        seen |= own
    return False
