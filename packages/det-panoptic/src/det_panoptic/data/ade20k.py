"""ADE20K: semantic segmentation, as in the scene parsing benchmark."""

from pathlib import Path

from det_datasets.readers import SemanticFolder

from det_panoptic.data.relabelled import Relabelled
from det_panoptic.names import ADE20K_CLASSES

__all__ = ["Ade20k"]


class Ade20k(Relabelled):
    """Images and label images of the 150 classes (ADEChallengeData2016).

    Args:
        images: folder of a split, such as images/training.
        labels: folder of PNG files of the same names, such as annotations/training; 0 is unlabelled.

    Attributes:
        classes: the 150 classes, each by its first name.

    Raises:
        DataError: as in `det_datasets.readers.SemanticFolder`.
    """

    classes: tuple[str, ...] = ADE20K_CLASSES

    def __init__(self, images: Path, labels: Path) -> None:
        numbers = range(len(ADE20K_CLASSES) + 1)
        super().__init__(SemanticFolder(images, labels, [f"id {number}" for number in numbers]), numbers[1:])
