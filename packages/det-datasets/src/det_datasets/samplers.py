"""Orders of training sets in which rare classes come more often than their images alone would make them."""

from collections.abc import Sequence

import numpy as np
from det_core.contracts import Dataset
from det_core.data.loading.samplers import require_indexed
from det_core.errors import ConfigError, DataError
from numpy.typing import NDArray

__all__ = ["ClassBalancedSampler", "RepeatFactorSampler"]

Indices = NDArray[np.int64]


class RepeatFactorSampler:
    """Shows images of rare classes more often (Gupta et al., "LVIS", 2019, appendix).

    A class that a share f of the images holds asks for max(1, sqrt(threshold / f)) repetitions of these, and an image
    is shown as often as the neediest of its classes asks. The fractional part is a chance, drawn anew in each pass.

    Args:
        dataset: the images; it has `labels_of`.
        threshold: classes in a smaller share of the images than this are repeated; published models use 0.001.
        seed: of the order and of the chances.
        sqrt: whether to take the square root.

    Attributes:
        factors: float64 (M,): how often each image is shown in a pass, on average; at least 1.
    """

    def __init__(self, dataset: Dataset, threshold: float, seed: int = 0, sqrt: bool = True) -> None:
        if not 0 <= threshold <= 1:
            raise ConfigError("RepeatFactorSampler.threshold", "must be from 0 to 1", f"got {threshold}")
        known = require_indexed(dataset, "RepeatFactorSampler")
        labels = [np.unique(np.asarray(known.labels_of(index), np.int64)) for index in range(len(dataset))]
        self.factors = _repeat_factors(labels, len(dataset.classes), threshold, sqrt)
        self._seed = seed

    def epoch(self, number: int) -> Indices:
        """The images of a pass, some of them several times."""
        random = np.random.default_rng([self._seed, number])
        whole = np.floor(self.factors)
        times = whole + (random.random(len(whole)) < self.factors - whole)
        return random.permutation(np.repeat(np.arange(len(whole)), times.astype(np.int64)))


class ClassBalancedSampler:
    """Draws a class, each as likely as any other, and then one of the images that show it.

    A pass is as long as the dataset. Images without any object, and classes without any image, are never drawn.

    Args:
        dataset: the images; it has `labels_of`.
        seed: of the draws.
    """

    def __init__(self, dataset: Dataset, seed: int = 0) -> None:
        known = require_indexed(dataset, "ClassBalancedSampler")
        labels = [np.unique(np.asarray(known.labels_of(index), np.int64)) for index in range(len(dataset))]
        joined = np.concatenate([np.empty(0, np.int64), *labels])
        if not len(joined):
            raise DataError(type(dataset).__name__, "has no object: there is no class to draw")
        images = np.repeat(np.arange(len(labels)), [len(own) for own in labels])
        # The images of one class after those of another, and where each class begins.
        self._images = images[np.argsort(joined, kind="stable")]
        _, self._first, self._counts = np.unique(np.sort(joined), return_index=True, return_counts=True)
        self._length, self._seed = len(dataset), seed

    def epoch(self, number: int) -> Indices:
        """The images of a pass."""
        random = np.random.default_rng([self._seed, number])
        drawn = random.integers(len(self._counts), size=self._length)
        return self._images[self._first[drawn] + random.integers(self._counts[drawn])]


def _repeat_factors(labels: Sequence[Indices], num_classes: int, threshold: float, sqrt: bool) -> NDArray[np.float64]:
    """How often to show each image, given its classes, each once."""
    images = np.bincount(np.concatenate([np.empty(0, np.int64), *labels]), minlength=num_classes)
    asked = threshold * max(1, len(labels)) / np.maximum(images, 1)
    asked = np.maximum(np.sqrt(asked) if sqrt else asked, 1.0)
    return np.array([asked[own].max(initial=1.0) for own in labels])
