"""A folder of images without annotations."""

from collections.abc import Sequence
from pathlib import Path

from det_core.data.formats.packed import PackedTexts
from det_core.data.images import image_size, read_image
from det_core.errors import ConfigError
from det_core.structures import Sample, Size

from det_datasets.readers.files import image_files

__all__ = ["ImageFolder"]


class ImageFolder:
    """Images without annotations: to predict on, or to estimate statistics with.

    Args:
        images: the folder, which may have folders in it.
        classes: the name of each label that a model may find.

    Raises:
        DataError: the folder is missing or holds no image; or, on reading, an image is damaged.
    """

    evaluators: tuple[str, ...] = ()

    def __init__(self, images: Path, classes: Sequence[str]) -> None:
        self.images, self.classes = Path(images), tuple(classes)
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ConfigError("ImageFolder.classes", "must be at least one name, each once", f"got {self.classes}")
        self.annotations = self.images
        names = image_files(self.images)
        self._files = PackedTexts(names)
        self._endings = len({name[: -len(Path(name).suffix)] for name in names}) < len(names)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        """The image; its id is its name within the folder, without the ending unless another has the same then."""
        path = self.path(index)
        return Sample(image=read_image(path), id=self.id_of(index), path=path)

    def id_of(self, index: int) -> str:
        """The id of an image, as its sample has it."""
        name = self._name(index)
        return name if self._endings else name[: -len(Path(name).suffix)]

    def path(self, index: int) -> Path:
        """The file of an image."""
        return self.images / self._name(index)

    def size_of(self, index: int) -> Size:
        """(height, width), from the head of the image."""
        return image_size(self.path(index))

    def labels_of(self, index: int) -> Sequence[int]:
        """None is known."""
        return ()

    def _name(self, index: int) -> str:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._files[index % len(self)]
