"""Several datasets as one."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from det_core.contracts import Dataset, Indexed
from det_core.data.loading.samplers import require_indexed
from det_core.errors import ConfigError
from det_core.structures import Sample, Size

__all__ = ["ConcatDataset"]


class ConcatDataset:
    """The images of several datasets, one after the other, such as VOC 2007 and 2012.

    Args:
        datasets: at least one; their classes are the same, and so are their keypoints.

    Attributes:
        evaluators: those of the first.
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
        counts = [getattr(each, "num_objects", None) for each in self.datasets]
        self.num_objects = None if None in counts else sum(filter(None, counts))
        self.annotations = ", ".join(str(getattr(each, "annotations", type(each).__name__)) for each in self.datasets)
        self._ends = tuple(accumulate(len(each) for each in self.datasets))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        """The sample as its own dataset gives it; negative indices count from the end."""
        dataset, own = self._place(index)
        return dataset[own]

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
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self._ends, index)
        return self.datasets[number], index - (self._ends[number - 1] if number else 0)
