"""Batches: an endless, shuffled stream to train on, and one pass in order to evaluate on.

The stream is a function of the seed. Position p of it, counted in samples from the start of training, always holds the
same image with the same augmentation in any worker: it does not depend on the number of workers, and a stream
that starts at p goes on as an uninterrupted one would.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal

import numpy as np

from det_core.contracts import Dataset, Sampler, Transform
from det_core.data.loading.batch import Batch
from det_core.data.loading.samplers import ShuffleSampler, Stream, require_indexed
from det_core.data.loading.workers import Prepare, Work, describe, in_order
from det_core.data.transforms.geometric import compose
from det_core.errors import ConfigError, DataError

__all__ = ["EvalLoader", "OnBadImage", "TrainLoader", "require_objects"]

OnBadImage = Literal["stop", "skip"]
"""Handling of an image that cannot be read: raise its DataError, or skip and report it."""


@dataclass(frozen=True, kw_only=True)
class _Loader:
    """Common parts of the two loaders."""

    dataset: Dataset
    batch_size: int
    transforms: Sequence[Any] = ()
    workers: int = 0
    on_bad_image: OnBadImage = "stop"
    seed: int = 0
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        for name, smallest in {"batch_size": 1, "workers": 0, "seed": 0}.items():
            if getattr(self, name) < smallest:
                raise ConfigError(name, f"must be at least {smallest}", f"got {getattr(self, name)}")
        if not 0 <= self.rank < self.world_size:
            raise ConfigError("rank", "must be below the world size", f"got {self.rank} of {self.world_size}")
        if len(self.dataset) == 0:
            fix = "check the annotation file and the options of the dataset"
            raise DataError(describe(self.dataset), "holds no image", fix=fix)

    def _transform(self) -> Transform:
        return compose(self.transforms, getattr(self.dataset, "flip_pairs", ()))


@dataclass(frozen=True, kw_only=True)
class TrainLoader(_Loader):
    """An endless stream of shuffled, augmented batches.

    Args:
        dataset: dataset of training images with targets.
        batch_size: images per batch of this process.
        transforms: transforms for `compose`; the mirror pairs of keypoints come from the dataset's `flip_pairs`.
        workers: processes that prepare batches ahead; 0 prepares them in this one, when they are asked for.
        on_bad_image: "stop" raises the DataError of an image that cannot be read; "skip" gives its place to the next
            image of the pass.
        seed: random seed of the order and of the augmentation; not negative.
        rank: rank of this process, from 0.
        world_size: number of processes that train together.
        start: samples drawn so far by all of them: the `position` of their last batch.
        sampler: images of each epoch, built for `dataset`; None for each image once, in random order.
        aspect_ratio_grouping: whether the images of a batch are all wider than high or all not, which saves padding.

    Raises:
        DataError: the dataset is empty or holds no object; an image, or every image, cannot be read; or a worker died,
            naming the image that it held.
    """

    start: int = 0
    sampler: Sampler | None = None
    aspect_ratio_grouping: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start < 0:
            raise ConfigError("start", "must not be negative", f"got {self.start}")
        require_objects(self.dataset, "there is nothing to learn from", "check that it is the file meant for training")

    def __iter__(self) -> Iterator[Batch]:
        prepare = Prepare(
            dataset=self.dataset,
            transform=self._transform(),
            seed=self.seed,
            order=self._stream(),
            attempts=len(self.dataset) if self.on_bad_image == "skip" else 1,
        )
        for batch in in_order(prepare, self._work(), self.workers):
            if batch.targets is None:
                problem = "has images without annotations: there is nothing to learn from them"
                raise DataError(describe(self.dataset), problem)
            yield batch

    def _stream(self) -> Stream:
        sampler = ShuffleSampler(self.dataset, self.seed) if self.sampler is None else self.sampler
        if not self.aspect_ratio_grouping:
            return Stream(sampler)
        indexed = require_indexed(self.dataset, "aspect_ratio_grouping")
        sizes = np.array([indexed.size_of(index) for index in range(len(self.dataset))])
        return Stream(sampler, self.batch_size * self.world_size, sizes[:, 1] > sizes[:, 0])

    def _work(self) -> Iterator[Work]:
        stride = self.batch_size * self.world_size
        for start in count(self.start, stride):
            first = start + self.rank * self.batch_size
            yield Work(range(first, first + self.batch_size), following=start + stride)


@dataclass(frozen=True, kw_only=True)
class EvalLoader(_Loader):
    """One pass over a dataset in its own order, with the samples as stored beside the transformed images.

    Args:
        dataset: dataset of the images to evaluate.
        batch_size: images per batch of this process; the last batch may be smaller.
        transforms: list of transforms for `compose`.
        workers: processes that prepare batches ahead; 0 prepares them in this one, when they are asked for.
        on_bad_image: "stop" raises the DataError of an image that cannot be read; "skip" leaves it out.
        seed: random seed of random transforms; not negative.
        rank: rank of this process, from 0.
        world_size: number of processes: each gets every `world_size`-th image.

    Raises:
        DataError: the dataset is empty; an image, or every image, cannot be read; or a worker died.
    """

    def __len__(self) -> int:
        """How many batches there are if every image can be read."""
        return math.ceil(len(self._mine) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        prepare = Prepare(
            dataset=self.dataset,
            transform=self._transform(),
            seed=self.seed,
            order=_as_stored,
            leave_out=self.on_bad_image == "skip",
            keep_stored=True,
        )
        last: Batch | None = None
        skipped: tuple[str, ...] = ()
        # A batch of which no image is left gives its messages to a neighbour, for which one batch is held back.
        for batch in in_order(prepare, self._work(), self.workers):
            skipped += batch.skipped
            if len(batch):
                if last is not None:
                    yield last
                last, skipped = replace(batch, skipped=skipped), ()
        if last is not None:
            yield replace(last, skipped=last.skipped + skipped)
        elif skipped:
            problem = f"none of its {len(self._mine)} images can be read"
            raise DataError(describe(self.dataset), problem, f"the first one: {skipped[0]}")

    @property
    def _mine(self) -> range:
        return range(self.rank, len(self.dataset), self.world_size)

    def _work(self) -> Iterator[Work]:
        for first in range(0, len(self._mine), self.batch_size):
            positions = self._mine[first : first + self.batch_size]
            yield Work(positions, following=positions[-1] + 1)


def _as_stored(position: int, attempt: int) -> int:
    return position + attempt


def require_objects(dataset: Dataset, problem: str, fix: str) -> None:
    """Raise DataError, which ends in `problem`, if the dataset is known to hold no object, or none but crowds."""
    objects, learnable = (getattr(dataset, name, None) for name in ("num_objects", "num_learnable"))
    if objects == 0:
        raise DataError(describe(dataset), f"has no annotation: {problem}", fix=fix)
    if learnable == 0:
        found = "" if objects is None else f"it has {objects} annotations"
        raise DataError(describe(dataset), f"has no object that is not a crowd: {problem}", found, fix)
