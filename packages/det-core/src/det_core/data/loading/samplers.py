"""The order of a training set: the images of an epoch, and the endless stream of epochs."""

import numpy as np
from numpy.typing import NDArray

from det_core.contracts import Dataset, Indexed, Sampler
from det_core.errors import ConfigError, DataError

__all__ = ["ShuffleSampler", "Stream", "require_indexed"]

Indices = NDArray[np.int64]


class ShuffleSampler:
    """Every image once in each pass, in a new order.

    Args:
        dataset: dataset whose images are shuffled.
        seed: random seed of the order.
    """

    def __init__(self, dataset: Dataset, seed: int = 0) -> None:
        self._length, self._seed = len(dataset), seed

    def epoch(self, number: int) -> Indices:
        """The images of a pass."""
        return np.random.default_rng([self._seed, number]).permutation(self._length)


class Stream:
    """An endless stream of images, pass after pass; a function of the position, so that it can start anywhere.

    Args:
        sampler: selects the images of each epoch.
        group: the images of each `group` positions, counted from the start, are all wide or all tall.
        wide: bool (M,): the images to be kept apart from the others; None groups nothing.
    """

    def __init__(self, sampler: Sampler, group: int = 1, wide: NDArray[np.bool_] | None = None) -> None:
        self._sampler, self._group, self._wide = sampler, group, wide
        self._rewind()

    def __call__(self, position: int, attempt: int) -> int:
        """The image at a position, or the one that comes `attempt` places later in the same pass, in a ring."""
        if position < self._first:
            self._rewind()
        while position >= self._first + len(self._order):
            self._next()
        return int(self._order[(position - self._first + attempt) % len(self._order)])

    def _rewind(self) -> None:
        self._epoch, self._first = -1, 0
        self._order, self._waiting = np.empty(0, np.int64), np.empty(0, np.int64)

    def _next(self) -> None:
        self._first += len(self._order)
        self._epoch += 1
        order = np.asarray(self._sampler.epoch(self._epoch), np.int64)
        if not len(order):
            raise DataError(type(self._sampler).__name__, f"pass {self._epoch} holds no image")
        if self._wide is None:
            self._order = order
        else:
            self._order, self._waiting = _grouped(np.concatenate((self._waiting, order)), self._wide, self._group)


def require_indexed(dataset: Dataset, what: str) -> Indexed:
    """The dataset as one that knows its images without reading them; raises ConfigError if it does not."""
    if not isinstance(dataset, Indexed):
        fix = "give it the methods `size_of` and `labels_of`, or leave this out"
        raise ConfigError(
            what, f"needs to know what {type(dataset).__name__} holds without reading its images", fix=fix
        )
    return dataset


def _grouped(order: Indices, wide: NDArray[np.bool_], group: int) -> tuple[Indices, Indices]:
    """`order` such that each `group` images in a row are of one kind, and those that wait for others of theirs.

    A group comes when its last image does, as if the images were put into two buckets one by one.
    """
    blocks, complete, waiting = [], [], []
    for kind in (False, True):
        places = np.flatnonzero(wide[order] == kind)
        whole = len(places) // group * group
        blocks.append(places[:whole].reshape(-1, group))
        complete.append(places[group - 1 : whole : group])
        waiting.append(places[whole:])
    arranged = np.concatenate(blocks)[np.argsort(np.concatenate(complete))]
    return order[arranged.ravel()], order[np.sort(np.concatenate(waiting))]
