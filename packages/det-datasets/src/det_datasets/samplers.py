"""Samplers of training sets that repeat images of rare classes."""

from collections.abc import Sequence

import numpy as np
from det_core.contracts import Dataset
from det_core.data.loading.samplers import require_indexed
from det_core.errors import ConfigError, DataError
from numpy.typing import NDArray

__all__ = ["ClassBalancedSampler", "RepeatFactorSampler"]

Indices = NDArray[np.int64]


class RepeatFactorSampler:
    """Repeats images of rare classes (Gupta et al., "LVIS", 2019, appendix).

    The repeat factor of a class in a fraction f of the images is max(1, sqrt(threshold / f)), and that of an image the
    maximum over its classes. The fractional part is rounded at random in each epoch.

    Args:
        dataset: dataset to sample, which needs `labels_of`.
        threshold: fraction of images below which a class is repeated, in [0, 1]; published models use 0.001.
        seed: seed of the order and of the random rounding.
        sqrt: whether to take the square root; without it rare classes are repeated more often.

    Attributes:
        factors: mean number of repetitions of each image per epoch, float64 (M,), at least 1.
    """

    def __init__(self, dataset: Dataset, threshold: float, seed: int = 0, sqrt: bool = True) -> None:
        if not 0 <= threshold <= 1:
            raise ConfigError("RepeatFactorSampler.threshold", "must be from 0 to 1", f"got {threshold}")
        indexed = require_indexed(dataset, "RepeatFactorSampler")
        labels = [np.unique(np.asarray(indexed.labels_of(index), np.int64)) for index in range(len(dataset))]
        self.factors = _repeat_factors(labels, len(dataset.classes), threshold, sqrt)
        self._seed = seed

    def epoch(self, number: int) -> Indices:
        """Image indices of an epoch, some of them several times."""
        random = np.random.default_rng([self._seed, number])
        whole = np.floor(self.factors)
        times = whole + (random.random(len(whole)) < self.factors - whole)
        return random.permutation(np.repeat(np.arange(len(whole)), times.astype(np.int64)))


class ClassBalancedSampler:
    """Samples a class uniformly, then one of its images.

    An epoch is as long as the dataset. Images without objects, and classes without images, are never sampled.

    Args:
        dataset: dataset to sample, which needs `labels_of`.
        seed: random seed of the samples.
    """

    def __init__(self, dataset: Dataset, seed: int = 0) -> None:
        indexed = require_indexed(dataset, "ClassBalancedSampler")
        labels = [np.unique(np.asarray(indexed.labels_of(index), np.int64)) for index in range(len(dataset))]
        joined = np.concatenate([np.empty(0, np.int64), *labels])
        if not len(joined):
            raise DataError(type(dataset).__name__, "has no object: there is no class to sample")
        images = np.repeat(np.arange(len(labels)), [len(each) for each in labels])
        # Image indices grouped by class, and the start of each group.
        self._images = images[np.argsort(joined, kind="stable")]
        _, self._first, self._counts = np.unique(np.sort(joined), return_index=True, return_counts=True)
        self._length, self._seed = len(dataset), seed

    def epoch(self, number: int) -> Indices:
        """Image indices of an epoch."""
        random = np.random.default_rng([self._seed, number])
        classes = random.integers(len(self._counts), size=self._length)
        return self._images[self._first[classes] + random.integers(self._counts[classes])]


def _repeat_factors(labels: Sequence[Indices], num_classes: int, threshold: float, sqrt: bool) -> NDArray[np.float64]:
    """Repeat factor of each image from its classes, without duplicates."""
    images = np.bincount(np.concatenate([np.empty(0, np.int64), *labels]), minlength=num_classes)
    factors = threshold * max(1, len(labels)) / np.maximum(images, 1)
    factors = np.maximum(np.sqrt(factors) if sqrt else factors, 1.0)
    return np.array([factors[classes].max(initial=1.0) for classes in labels])
