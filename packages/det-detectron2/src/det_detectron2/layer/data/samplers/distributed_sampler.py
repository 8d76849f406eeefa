"""The order of elements in all processes, as `detectron2.data.samplers.distributed_sampler`."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data.sampler import Sampler

from det_detectron2.layer.utils import comm

__all__ = [
    "InferenceSampler",
    "RandomSubsetTrainingSampler",
    "RepeatFactorTrainingSampler",
    "TrainingSampler",
]


def _seed(seed: int | None) -> int:
    return comm.shared_random_seed() if seed is None else int(seed)


class TrainingSampler(Sampler[int]):
    """Infinite stream of indices, reshuffled each epoch; each process takes its share.

    Args:
        size: number of elements.
        shuffle: whether to shuffle the indices.
        seed: random seed of the order, the same in all processes; None shares a random seed among them.
    """

    def __init__(self, size: int, shuffle: bool = True, seed: int | None = None) -> None:
        if not isinstance(size, int):
            raise TypeError(f"TrainingSampler(size=) expects an int. Got type {type(size)}.")
        if size <= 0:
            raise ValueError(f"TrainingSampler(size=) expects a positive int. Got {size}.")
        self._size, self._shuffle, self._seed = size, shuffle, _seed(seed)
        self._rank, self._world_size = comm.get_rank(), comm.get_world_size()

    def __iter__(self) -> Iterator[int]:
        yield from itertools.islice(self._infinite_indices(), self._rank, None, self._world_size)

    def _infinite_indices(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(self._seed)
        while True:
            if self._shuffle:
                yield from torch.randperm(self._size, generator=generator).tolist()
            else:
                yield from range(self._size)


class RandomSubsetTrainingSampler(TrainingSampler):
    """`TrainingSampler` over a random subset, which is sampled once.

    Args:
        size: number of elements.
        subset_ratio: fraction of the elements to use, in (0, 1].
        shuffle: whether to shuffle the indices.
        seed_shuffle: random seed of the order.
        seed_subset: random seed of the choice of the subset.
    """

    def __init__(
        self,
        size: int,
        subset_ratio: float,
        shuffle: bool = True,
        seed_shuffle: int | None = None,
        seed_subset: int | None = None,
    ) -> None:
        super().__init__(size=size, shuffle=shuffle, seed=seed_shuffle)
        assert 0.0 < subset_ratio <= 1.0
        self._size_subset = int(size * subset_ratio)
        assert self._size_subset > 0
        generator = torch.Generator()
        generator.manual_seed(_seed(seed_subset))
        self._indexes_subset = torch.randperm(size, generator=generator)[: self._size_subset]

    def _infinite_indices(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(self._seed)
        while True:
            if self._shuffle:
                order = torch.randperm(self._size_subset, generator=generator)
                yield from self._indexes_subset[order].tolist()
            else:
                yield from self._indexes_subset.tolist()


class RepeatFactorTrainingSampler(Sampler[int]):
    """Repeats images of rare classes (Gupta et al., "LVIS", 2019).

    Args:
        repeat_factors: (N,), mean number of repeats of each element per epoch; 1.5 gives one or two.
        shuffle: whether to shuffle the indices.
        seed: random seed of the order; None shares a random seed among the processes.
    """

    def __init__(self, repeat_factors: Tensor, *, shuffle: bool = True, seed: int | None = None) -> None:
        self._shuffle, self._seed = shuffle, _seed(seed)
        self._rank, self._world_size = comm.get_rank(), comm.get_world_size()
        self._int_part = torch.trunc(repeat_factors)
        self._frac_part = repeat_factors - self._int_part

    @staticmethod
    def repeat_factors_from_category_frequency(
        dataset_dicts: Sequence[dict[str, Any]], repeat_thresh: float, sqrt: bool = True
    ) -> Tensor:
        """Repeat factor of each image: maximum over its classes of max(1, threshold / frequency) or its square root.

        Args:
            dataset_dicts: dataset dicts with annotations.
            repeat_thresh: frequency, as a fraction of the images, below which a class is repeated.
            sqrt: whether to take the square root of threshold / frequency.
        """
        counts = Counter(
            label for each in dataset_dicts for label in {current["category_id"] for current in each["annotations"]}
        )
        factors = {}
        for label, count in counts.items():
            ratio = repeat_thresh / (count / len(dataset_dicts))
            factors[label] = max(1.0, math.sqrt(ratio) if sqrt else ratio)
        per_image = [
            max((factors[current["category_id"]] for current in each["annotations"]), default=1.0)
            for each in dataset_dicts
        ]
        return torch.tensor(per_image, dtype=torch.float32)

    def _get_epoch_indices(self, generator: torch.Generator) -> Tensor:
        sampled = torch.rand(len(self._frac_part), generator=generator)
        counts = self._int_part + (sampled < self._frac_part).float()
        return torch.repeat_interleave(torch.arange(len(counts)), counts.long())

    def __iter__(self) -> Iterator[int]:
        yield from itertools.islice(self._infinite_indices(), self._rank, None, self._world_size)

    def _infinite_indices(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(self._seed)
        while True:
            indices = self._get_epoch_indices(generator)
            if self._shuffle:
                indices = indices[torch.randperm(len(indices), generator=generator)]
            yield from indices.tolist()


class InferenceSampler(Sampler[int]):
    """Each index once, in order; each process takes a range.

    Args:
        size: number of elements.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        assert size >= 0
        self._rank, self._world_size = comm.get_rank(), comm.get_world_size()
        self._local_indices = self._get_local_indices(size, self._world_size, self._rank)

    @staticmethod
    def _get_local_indices(total_size: int, world_size: int, rank: int) -> range:
        base, more = divmod(total_size, world_size)
        sizes = [base + int(each < more) for each in range(world_size)]
        start = sum(sizes[:rank])
        return range(start, min(start + sizes[rank], total_size))

    def __iter__(self) -> Iterator[int]:
        yield from self._local_indices

    def __len__(self) -> int:
        return len(self._local_indices)
