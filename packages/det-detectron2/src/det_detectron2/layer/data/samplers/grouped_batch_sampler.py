"""Batches of one group, as `detectron2.data.samplers.grouped_batch_sampler`."""

from collections.abc import Iterable, Iterator

import numpy as np
from torch.utils.data.sampler import BatchSampler, Sampler

__all__ = ["GroupedBatchSampler"]


class GroupedBatchSampler(BatchSampler):
    """Batches of elements of the same group, as close as possible to the order of another sampler.

    Args:
        sampler: sampler of indices.
        group_ids: group number of each index.
        batch_size: number of elements per batch.
    """

    def __init__(self, sampler: Sampler[int], group_ids: Iterable[int], batch_size: int) -> None:
        if not isinstance(sampler, Sampler):
            raise ValueError(f"sampler should be an instance of torch.utils.data.Sampler, but got sampler={sampler}")
        self.sampler, self.batch_size = sampler, batch_size
        self.group_ids = np.asarray(list(group_ids))
        assert self.group_ids.ndim == 1
        self.buffer_per_group: dict[int, list[int]] = {int(group): [] for group in np.unique(self.group_ids)}

    def __iter__(self) -> Iterator[list[int]]:
        for place in self.sampler:
            waiting = self.buffer_per_group[int(self.group_ids[place])]
            waiting.append(place)
            if len(waiting) == self.batch_size:
                yield waiting[:]
                del waiting[:]

    def __len__(self) -> int:
        raise NotImplementedError("len() of GroupedBatchSampler is not well-defined.")
