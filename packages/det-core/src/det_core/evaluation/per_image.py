"""Base of evaluators that keep a record of each image. Works without torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from det_core.errors import DataError, StructureError

if TYPE_CHECKING:
    from det_core.structures import Detections, Prediction, Sample, Targets

__all__ = ["PerImage", "detections_and_targets"]

Record = TypeVar("Record")


class PerImage(Generic[Record]):
    """Keeps a compact record of each image, by its id, and merges those of several processes."""

    def __init__(self) -> None:
        self._images: dict[int | str, Record] = {}

    def require_new(self, sample: "Sample") -> None:
        """Raise DataError if an image of this id was added before."""
        if sample.id in self._images:
            fix = "make the ids of samples unique"
            raise DataError(f"image {sample.id}", "was evaluated before", fix=fix)

    @property
    def image_ids(self) -> list[int | str]:
        """Ids of the images added so far: numbers first, each kind in ascending order."""
        return sorted(self._images, key=lambda key: (isinstance(key, str), key))

    def state(self) -> dict[int | str, Record]:
        """The images added so far."""
        return dict(self._images)

    def merge(self, states: Sequence[dict[int | str, Record]]) -> None:
        """Add the images of all processes; an image of several counts once."""
        self._images = {}
        for state in states:
            self._images = state | self._images


def detections_and_targets(prediction: "Prediction", sample: "Sample") -> "tuple[Detections, Targets]":
    """The detections and the targets of an image.

    Raises:
        DataError: the sample has no ground truth.
        StructureError: the prediction has no detections, or they are for an image of another size.
    """
    where, targets, detections = f"image {sample.id}", sample.targets, prediction.detections
    if targets is None:
        raise DataError(where, "has no annotations to evaluate on", fix="evaluate on a dataset that has them")
    if detections is None:
        raise StructureError(where, "its prediction has no detections", fix="this evaluator is for detectors")
    if tuple(detections.size) != sample.size:
        found = f"{tuple(detections.size)} instead of {sample.size}"
        raise StructureError(where, "its prediction is for an image of another size", found)
    return detections, targets
