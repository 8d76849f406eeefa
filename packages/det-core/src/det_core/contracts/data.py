"""Datasets, samplers and transforms."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from det_core.structures import Sample, Size

__all__ = ["Dataset", "Indexed", "Sampler", "Transform"]


@runtime_checkable
class Dataset(Protocol):
    """Images with or without ground truth.

    Attributes:
        classes: names of the classes; the label is the index.
        evaluators: names of its evaluators, as in a recipe.

    A dataset that skips parts of its files may have the attribute `left_out`, a mapping from reason to count
    ({"annotations that cannot be used": 3}), which training, evaluation and `det data check` report. A dataset with its
    own sampling has the method `sampler(seed)`, which returns a `Sampler` or None.
    """

    classes: Sequence[str]
    evaluators: Sequence[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """The image and its targets as stored, untransformed; raises DataError naming the file if it cannot be read."""


@runtime_checkable
class Indexed(Protocol):
    """A dataset with image sizes and labels available without reading images, as some samplers need."""

    def size_of(self, index: int) -> Size:
        """(height, width) of the image as stored."""

    def labels_of(self, index: int) -> Sequence[int]:
        """The label of each object in the image."""


@runtime_checkable
class Sampler(Protocol):
    """Selects the images of each epoch of a training set. Built with `dataset` and `seed`."""

    def epoch(self, number: int) -> Any:
        """Indices of epoch `number` in order, int64 (K,), at least one; the same for every call and process.

        An epoch depends on nothing but `number`, so that training can resume at any image of any epoch.
        """


@runtime_checkable
class Transform(Protocol):
    """Any callable from sample to sample; those of torchvision.transforms.v2 are adapted where a recipe names them."""

    def __call__(self, sample: Sample) -> Sample:
        """The transformed sample; the input is unchanged."""
