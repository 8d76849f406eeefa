"""Semantic segmentation: a folder of images, and one of label images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from det_core.data.formats.packed import PackedTexts
from det_core.data.images import image_size, read_image
from det_core.errors import ConfigError, DataError
from det_core.files import IMAGE_SUFFIXES
from det_core.structures import Sample, Size, Targets
from det_safeload.regular import open_regular
from numpy.typing import NDArray
from PIL import Image

from det_datasets.readers.files import image_files

__all__ = ["SemanticFolder"]

_UNKNOWN = 255


class SemanticFolder:
    """Images, and a class for each pixel from a single-channel PNG of the same name.

    Samples have no objects; `Targets.semantic` holds the classes, int64 (H, W), 255 where ignored.

    Args:
        images: image folder, possibly with subfolders.
        labels: folder of PNG files, with the same layout.
        classes: names of the classes; the label is the index.
        ignore: pixel value of ignored pixels.
        image_suffix: ending of image names, beside the stem that they share with the labels.
        label_suffix: ending of label names; Cityscapes: "_gtFine_labelTrainIds.png" with the image suffix
            "_leftImg8bit.png".

    Raises:
        DataError: a folder is missing or contains no image; or, on reading, a label image is missing, damaged, of
            another size, has colors, or contains a value that is no label.
    """

    evaluators: tuple[str, ...] = ("det_datasets.evaluators:MeanIoU",)

    def __init__(
        self,
        images: Path,
        labels: Path,
        classes: Sequence[str],
        ignore: int = 255,
        image_suffix: str | None = None,
        label_suffix: str = ".png",
    ) -> None:
        self.images, self.labels, self.classes, self.ignore = Path(images), Path(labels), tuple(classes), ignore
        if not 1 <= len(self.classes) <= _UNKNOWN or len(set(self.classes)) != len(self.classes):
            found = f"got {len(self.classes)}"
            raise ConfigError("SemanticFolder.classes", "must be 1 to 255 different names", found)
        if not self.labels.is_dir():
            raise DataError(str(self.labels), "there is no such folder", fix="check the path")
        self.annotations = self.labels
        self._files = PackedTexts(image_files(self.images, IMAGE_SUFFIXES if image_suffix is None else (image_suffix,)))
        self._image_suffix, self._label_suffix = image_suffix, label_suffix
        self._endings = len({self._stem(index) for index in range(len(self))}) < len(self)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        """The image and its semantic map."""
        path = self.path(index)
        image = read_image(path)
        classes = self._classes(self.label_path(index), (image.shape[1], image.shape[2]))
        nothing = torch.zeros(0, dtype=torch.int64)
        targets = Targets(boxes=torch.zeros(0, 4), labels=nothing, semantic=torch.from_numpy(classes))
        return Sample(image=image, targets=targets, id=self.id_of(index), path=path)

    def path(self, index: int) -> Path:
        """File of an image."""
        return self.images / self._name(index)

    def label_path(self, index: int) -> Path:
        """File of its labels, which may be missing."""
        return self.labels / f"{self._stem(index)}{self._label_suffix}"

    def id_of(self, index: int) -> str:
        """Id of an image: its name without the suffix, unless that is not unique."""
        return self._name(index) if self._endings else self._stem(index)

    def size_of(self, index: int) -> Size:
        """(height, width), from the image header."""
        return image_size(self.path(index))

    def labels_of(self, index: int) -> Sequence[int]:
        """Empty, as semantic annotations have no objects."""
        return ()

    def _name(self, index: int) -> str:
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._files[index]

    def _stem(self, index: int) -> str:
        name = self._name(index)
        suffix = Path(name).suffix if self._image_suffix is None else self._image_suffix
        return name[: len(name) - len(suffix)]

    def _classes(self, path: Path, size: Size) -> NDArray[np.int64]:
        try:
            with open_regular(path) as file, Image.open(file, formats=("PNG",)) as picture:
                mode, values = picture.mode, np.asarray(picture)
        except FileNotFoundError as error:
            raise DataError(str(path), "there is no such label image", fix="each image needs one") from error
        # A decoder may raise any exception on a broken file.
        except Exception as error:
            raise DataError(str(path), "cannot be read as a label image", str(error)) from error
        if values.ndim != 2:
            fix = "save a single channel with labels as values"
            raise DataError(str(path), f"has colors of mode {mode}, where labels are expected", fix=fix)
        if values.shape != size:
            found = f"its image has {size[1]} x {size[0]}"
            raise DataError(str(path), f"has {values.shape[1]} x {values.shape[0]} pixels", found)
        classes = values.astype(np.int64)
        labelled = classes != self.ignore
        if (strange := labelled & ((classes < 0) | (classes >= len(self.classes)))).any():
            found = f"{int(strange.sum())} pixels have such as {classes[strange][0]}, of {len(self.classes)} classes"
            raise DataError(str(path), "holds values that are no label", found, "check `classes` and `ignore`")
        return np.where(labelled, classes, _UNKNOWN)
