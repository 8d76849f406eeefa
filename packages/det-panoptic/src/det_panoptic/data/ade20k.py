"""ADE20K: the class of each pixel, as the scene parsing benchmark has it."""

from collections.abc import Sequence
from pathlib import Path

from det_core.data import SemanticFolder
from det_core.structures import Sample, Size

from det_panoptic.data.relabelled import relabelled
from det_panoptic.names import ADE20K_CLASSES

__all__ = ["Ade20k"]


class Ade20k:
    """Images and label images of the 150 classes (ADEChallengeData2016).

    Args:
        images: the folder of a split, such as images/training.
        labels: the folder of PNG files of the same names, such as annotations/training; 0 is unknown.

    Attributes:
        classes: the 150 classes, each by the first of its names.

    Raises:
        DataError: as in `det_core.data.SemanticFolder`.
    """

    evaluators: tuple[str, ...] = ("det_core.evaluation:MeanIoU",)
    classes: tuple[str, ...] = ADE20K_CLASSES

    def __init__(self, images: Path, labels: Path) -> None:
        self._files = SemanticFolder(images, labels, [f"id {number}" for number in range(len(ADE20K_CLASSES) + 1)])

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        """The image and the classes of its pixels, 255 where unknown."""
        return relabelled(self._files[index], range(1, len(ADE20K_CLASSES) + 1))

    def path(self, index: int) -> Path:
        """The file of an image."""
        return self._files.path(index)

    def size_of(self, index: int) -> Size:
        """(height, width), from the head of the image."""
        return self._files.size_of(index)

    def labels_of(self, index: int) -> Sequence[int]:
        """No object has a label."""
        return ()
