"""Cityscapes: panoptic and semantic annotations."""

from pathlib import Path

from det_datasets.readers import SemanticFolder

from det_panoptic.data.images import BadSegments, PanopticImages
from det_panoptic.data.index import read_index
from det_panoptic.data.relabelled import Relabelled
from det_panoptic.names import CITYSCAPES_CLASSES, CITYSCAPES_IDS

__all__ = ["CityscapesPanoptic", "CityscapesSemantic"]


class CityscapesPanoptic(PanopticImages):
    """The segments of Cityscapes, from the files of its script createPanopticImgs.py.

    Labels are the 19 train ids, with stuff first.

    Args:
        images: folder of a split of leftImg8bit, with a folder for each city.
        annotations: JSON file, such as gtFine/cityscapes_panoptic_train.json; with train ids or without.
        labels: folder of the PNG files beside it.
        masks: whether targets include thing masks, bool (N, H, W).
        bad_segments: "stop" raises an error for segments that do not match their label image; "skip" drops them.

    Raises:
        DataError: as in `CocoPanoptic`.
    """

    def __init__(
        self,
        images: Path,
        annotations: Path,
        labels: Path,
        masks: bool = False,
        bad_segments: BadSegments = "stop",
    ) -> None:
        index = read_index(Path(annotations), things_first=False)
        super().__init__(index, Path(images), Path(labels), Path(annotations), "classes", masks, bad_segments)

    def path(self, index: int) -> Path:
        """File of an image, in the folder of its city."""
        name = str(self._index.image_ids[self._row(index)])
        return self.images / name.partition("_")[0] / f"{name}_leftImg8bit.png"


class CityscapesSemantic(Relabelled):
    """Semantic segmentation of Cityscapes, from its label images (labelIds).

    Args:
        images: folder of a split of leftImg8bit, with a folder for each city.
        annotations: folder of the same split of gtFine.

    Attributes:
        classes: the 19 evaluated classes; pixels of the others are ignored.

    Raises:
        DataError: as in `det_datasets.readers.SemanticFolder`.
    """

    classes: tuple[str, ...] = CITYSCAPES_CLASSES

    def __init__(self, images: Path, annotations: Path) -> None:
        # All ids of Cityscapes, so that other values are errors; a licence plate, -1, is stored as 255.
        numbers = [f"id {number}" for number in range(34)]
        files = SemanticFolder(images, annotations, numbers, 255, "_leftImg8bit.png", "_gtFine_labelIds.png")
        super().__init__(files, CITYSCAPES_IDS)
