"""Several datasets as one."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
from det_core.contracts import Dataset, Indexed, Sampler
from det_core.data.loading.samplers import Indices, require_indexed
from det_core.errors import ConfigError
from det_core.structures import Sample, Size

__all__ = ["ConcatDataset"]


class ConcatDataset:
    """The images of several datasets, one after the other, such as VOC 2007 and 2012.

    Where an id occurs in two of them, as those of files that each count from 1, ids become "NUMBER/ID", with the number
    of the dataset from 0: no prediction or proposal is taken for one of another image.

    Args:
        datasets: one or more datasets with the same classes and keypoints.
        weights: the share of each dataset in the draws of training; a pass has as many as there are images, and shows a
            dataset whole before it repeats an image of it. None shows every image once.

    Attributes:
        evaluators: evaluators of the first dataset.
        qualified: whether ids begin with the number of their dataset and a slash, because two datasets use one id.
        category_ids: those of the first, if all agree; empty otherwise.
    """

    def __init__(self, datasets: Sequence[Dataset], weights: Sequence[float] | None = None) -> None:
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
        self._weights = None if weights is None else _checked(weights, self.datasets)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        """The sample of its dataset, with a unique id; negative indices count from the end."""
        dataset, local_index = self._place(index)
        sample = dataset[local_index]
        return replace(sample, id=f"{self._number(index)}/{sample.id}") if self.qualified else sample

    def sampler(self, seed: int) -> Sampler | None:
        """Sampler of the epochs by weight; None without weights, ConfigError if a dataset has its own sampler."""
        for place, each in enumerate(self.datasets):
            if callable(make_sampler := getattr(each, "sampler", None)) and make_sampler(seed) is not None:
                fix = "give the weights of all datasets to the outer one"
                raise ConfigError(f"ConcatDataset.datasets[{place}]", "draws its images by weights of its own", fix=fix)
        return None if self._weights is None else _ByWeight(self._ends, self._weights, seed)

    def id_of(self, index: int) -> int | str:
        """The id of an image without reading it, if its dataset provides that."""
        dataset, local_index = self._place(index)
        sample_id: int | str = dataset.id_of(local_index)  # type: ignore[attr-defined]
        return f"{self._number(index)}/{sample_id}" if self.qualified else sample_id

    def path(self, index: int) -> Path | str:
        """The file of an image, or its index in its dataset if that has no paths."""
        dataset, local_index = self._place(index)
        path = getattr(dataset, "path", None)
        return path(local_index) if callable(path) else f"image number {local_index} of {type(dataset).__name__}"

    def size_of(self, index: int) -> Size:
        """(height, width) from the dataset of the image."""
        dataset, local_index = self._indexed(index)
        return dataset.size_of(local_index)

    def labels_of(self, index: int) -> Sequence[int]:
        """The label of each object, from the dataset of the image."""
        dataset, local_index = self._indexed(index)
        return dataset.labels_of(local_index)

    def _indexed(self, index: int) -> tuple[Indexed, int]:
        dataset, local_index = self._place(index)
        return require_indexed(dataset, type(self).__name__), local_index

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


class _ByWeight:
    """Epochs with a share of each dataset, rounded up or down at random."""

    def __init__(self, ends: Sequence[int], weights: Sequence[float], seed: int) -> None:
        self._ends, self._shares, self._seed = ends, np.cumsum(weights) / math.fsum(weights), seed

    def epoch(self, number: int) -> Indices:
        """The images of a pass."""
        random = np.random.default_rng([self._seed, number])
        until = np.floor(self._shares * self._ends[-1] + random.random()).astype(np.int64)
        until[-1], parts = self._ends[-1], []
        for first, end, count in zip((0, *self._ends), self._ends, np.diff(until, prepend=0), strict=False):
            rounds = [random.permutation(np.arange(first, end)) for _ in range(0, int(count), end - first)]
            parts += [np.concatenate(rounds)[:count]] if rounds else []
        return random.permutation(np.concatenate(parts))


def _checked(weights: Sequence[float], datasets: Sequence[Dataset]) -> tuple[float, ...]:
    if len(weights) == len(datasets) and all(0 < each < math.inf for each in weights) and all(map(len, datasets)):
        return tuple(weights)
    problem = "must be one finite number above 0 for each dataset, none of which is empty"
    raise ConfigError("ConcatDataset.weights", problem, f"got {list(weights)[:8]} for {len(datasets)} datasets")


def _sum(datasets: Sequence[Dataset], name: str) -> int | None:
    """The sum of a count over all datasets; None if it is unknown for one."""
    counts = [getattr(each, name, None) for each in datasets]
    return None if None in counts else sum(filter(None, counts))


def _share_ids(datasets: Sequence[Dataset]) -> bool:
    """Whether an image of one dataset may have the id of an image of another, or a dataset has no `id_of`."""
    ids: set[int | str] = set()
    for dataset in datasets if len(datasets) > 1 else ():
        id_of = getattr(dataset, "id_of", None)
        if not callable(id_of):
            return True
        dataset_ids = {id_of(index) for index in range(len(dataset))}
        if not ids.isdisjoint(dataset_ids):
            return True
        ids |= dataset_ids
    return False
