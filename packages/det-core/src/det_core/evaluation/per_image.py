"""What evaluators share that keep something of each image until the end. No torch is needed here."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from det_core.errors import DataError, StructureError

if TYPE_CHECKING:
    from det_core.structures import Detections, Prediction, Sample, Targets

__all__ = ["PerImage", "detections_and_truth"]

Kept = TypeVar("Kept")


class PerImage(Generic[Kept]):
    """Keeps something small of each image, by its id, and joins what several processes kept."""

    def __init__(self) -> None:
        self._images: dict[int | str, Kept] = {}

    def require_new(self, sample: "Sample") -> None:
        """Raise DataError if an image of this id was added before."""
        if sample.id in self._images:
            fix = "give each sample of a dataset an id of its own"
            raise DataError(f"image {sample.id}", "was judged before", fix=fix)

    @property
    def image_ids(self) -> list[int | str]:
        """The ids of the images added so far: numbers first, each kind in its order."""
        return sorted(self._images, key=lambda key: (isinstance(key, str), key))

    def state(self) -> dict[int | str, Kept]:
        """The images added so far."""
        return dict(self._images)

    def merge(self, states: Sequence[dict[int | str, Kept]]) -> None:
        """Take the images of all processes; one that several of them saw counts once."""
        self._images = {}
        for state in states:
            self._images = state | self._images


def detections_and_truth(prediction: "Prediction", sample: "Sample") -> "tuple[Detections, Targets]":
    """What a detector says of an image, and what is truly there.

    Raises:
        DataError: the sample has no truth.
        StructureError: the prediction has no detections, or they are for an image of another size.
    """
    where, truth, guess = f"image {sample.id}", sample.targets, prediction.detections
    if truth is None:
        raise DataError(where, "has no annotations to judge by", fix="evaluate on a dataset that has them")
    if guess is None:
        raise StructureError(where, "its prediction has no detections", fix="this evaluator is for detectors")
    if tuple(guess.size) != sample.size:
        found = f"{tuple(guess.size)} instead of {sample.size}"
        raise StructureError(where, "its prediction is for an image of another size", found)
    return guess, truth
