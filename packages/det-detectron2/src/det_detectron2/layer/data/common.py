"""Data sets out of lists, mapped and batched, as `detectron2.data.common`."""

import contextlib
import copy
import logging
import pickle
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import data

__all__ = ["AspectRatioGroupedDataset", "DatasetFromList", "MapDataset", "ToIterableDataset"]

logger = logging.getLogger(__name__)


def _shard_iterator_dataloader_worker(iterable: Iterable[Any], chunk_size: int = 1) -> Iterator[Any]:
    """The share of this worker of a loader: chunks in turn."""
    worker = data.get_worker_info()
    if worker is None or worker.num_workers == 1:
        yield from iterable
        return
    numbered = enumerate(iterable)
    for place, element in numbered:
        if (place // chunk_size) % worker.num_workers == worker.id:
            yield element


class _MapIterableDataset(data.IterableDataset):
    def __init__(self, dataset: Any, map_func: Callable[[Any], Any]) -> None:
        self._dataset, self._map_func = dataset, map_func

    def __len__(self) -> int:
        return len(self._dataset)

    def __iter__(self) -> Iterator[Any]:
        for each in map(self._map_func, self._dataset):
            if each is not None:
                yield each


class MapDataset(data.Dataset):
    """A function over a data set; where it gives None, another element is taken.

    Args:
        dataset: map-style or iterable data set.
        map_func: function of an element; None as its result selects another element.
    """

    def __new__(cls, dataset: Any, map_func: Callable[[Any], Any]) -> Any:
        """Of what is only gone through, such a data set."""
        if isinstance(dataset, data.IterableDataset):
            return _MapIterableDataset(dataset, map_func)
        return super().__new__(cls)

    def __getnewargs__(self) -> tuple[Any, Any]:
        return self._dataset, self._map_func

    def __init__(self, dataset: Any, map_func: Callable[[Any], Any]) -> None:
        self._dataset, self._map_func = dataset, _Callable(map_func)
        self._rng = random.Random(42)
        self._fallback_candidates = set(range(len(dataset)))

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, idx: int) -> Any:
        tries, place = 0, int(idx)
        while True:
            results = self._map_func(self._dataset[place])
            if results is not None:
                self._fallback_candidates.add(place)
                return results
            tries += 1
            self._fallback_candidates.discard(place)
            place = self._rng.sample(sorted(self._fallback_candidates), k=1)[0]
            if tries >= 3:
                logger.warning("Failed to apply `_map_func` for idx: %s, retry count: %d", idx, tries)


class _Callable:
    """A function that pickles also where it is a lambda."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, each: Any) -> Any:
        return self._function(each)

    def __getstate__(self) -> bytes:
        try:
            return pickle.dumps(self._function)
        except Exception:
            import cloudpickle

            packed: bytes = cloudpickle.dumps(self._function)
            return packed

    def __setstate__(self, state: bytes) -> None:
        self._function = pickle.loads(state)


class _SerializedList:
    """Elements as bytes in one array, which worker processes share rather than copy."""

    def __init__(self, elements: Sequence[Any]) -> None:
        packed = [pickle.dumps(each, protocol=-1) for each in elements]
        self._ends = np.cumsum([len(each) for each in packed], dtype=np.int64)
        self._bytes = torch.from_numpy(np.frombuffer(b"".join(packed), dtype=np.uint8).copy())

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, place: int) -> Any:
        place = range(len(self))[int(place)]
        start = 0 if place == 0 else int(self._ends[place - 1])
        return pickle.loads(self._bytes[start : int(self._ends[place])].numpy().tobytes())


_SERIALIZE: list[Callable[[Sequence[Any]], Any]] = [_SerializedList]


@contextlib.contextmanager
def set_default_dataset_from_list_serialize_method(new: Callable[[Sequence[Any]], Any]) -> Iterator[None]:
    """Within, `DatasetFromList` keeps its elements by another method."""
    _SERIALIZE.append(new)
    yield
    _SERIALIZE.pop()


class DatasetFromList(data.Dataset):
    """A list as a data set.

    Args:
        lst: list of elements.
        copy: whether to return copies of elements, which the caller may modify.
        serialize: whether to store elements as bytes, which worker processes share; or a function that stores them.
    """

    def __init__(self, lst: Sequence[Any], copy: bool = True, serialize: bool | Callable[..., Any] = True) -> None:
        self._copy = copy
        if not isinstance(serialize, bool):
            self._lst = serialize(lst)
            self._copy = False
        elif serialize:
            self._lst = _SERIALIZE[-1](lst)
            self._copy = False
        else:
            self._lst = lst

    def __len__(self) -> int:
        return len(self._lst)

    def __getitem__(self, idx: int) -> Any:
        return copy.deepcopy(self._lst[idx]) if self._copy else self._lst[idx]


class ToIterableDataset(data.IterableDataset):
    """A data set in the order of a sampler.

    Args:
        dataset: map-style data set.
        sampler: sampler of indices, the same in all workers.
        shard_sampler: whether each worker takes only its share of the indices.
        shard_chunk_size: number of consecutive indices per worker.
    """

    def __init__(
        self, dataset: Any, sampler: Iterable[int], shard_sampler: bool = True, shard_chunk_size: int = 1
    ) -> None:
        assert not isinstance(dataset, data.IterableDataset), dataset
        self.dataset, self.sampler = dataset, sampler
        self.shard_sampler, self.shard_chunk_size = shard_sampler, shard_chunk_size

    def __iter__(self) -> Iterator[Any]:
        places: Iterable[int] = self.sampler
        if self.shard_sampler:
            places = _shard_iterator_dataloader_worker(self.sampler, self.shard_chunk_size)
        for place in places:
            yield self.dataset[place]

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]


class AspectRatioGroupedDataset(data.IterableDataset):
    """Batches of only landscape or only portrait images.

    Args:
        dataset: iterable of mappings with "width" and "height" in pixels.
        batch_size: number of elements per batch.
    """

    def __init__(self, dataset: Iterable[Any], batch_size: int) -> None:
        self.dataset, self.batch_size = dataset, batch_size
        self._buckets: list[list[Any]] = [[] for _ in range(2)]

    def __iter__(self) -> Iterator[list[Any]]:
        for each in self.dataset:
            bucket = self._buckets[0 if each["width"] > each["height"] else 1]
            bucket.append(each)
            if len(bucket) == self.batch_size:
                batch = bucket[:]
                del bucket[:]
                yield batch
