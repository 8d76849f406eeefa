"""What several readers share: the images in a folder, and lists of numbers in two arrays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from det_core.data.images import IMAGE_SUFFIXES
from det_core.errors import DataError
from numpy.typing import NDArray

__all__ = ["PackedNumbers", "image_files"]


def image_files(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[str]:
    """The images in a folder and the folders in it, by name, as paths from `folder` with slashes.

    Raises:
        DataError: there is no such folder, or it holds no image.
    """
    if not folder.is_dir():
        raise DataError(str(folder), "there is no such folder of images", fix="check the path")
    endings = tuple(suffix.lower() for suffix in suffixes)
    images = (file for file in folder.rglob("*") if file.name.lower().endswith(endings) and file.is_file())
    files = sorted(file.relative_to(folder).as_posix() for file in images)
    if not files:
        raise DataError(str(folder), "the folder holds no image", fix=f"files must end in {', '.join(suffixes)}")
    return files


class PackedNumbers:
    """Lists of whole numbers, by their place; each is given as a copy, int64 (K,)."""

    def __init__(self, lists: Sequence[Sequence[int]]) -> None:
        self._values = np.array([value for each in lists for value in each], np.int64)
        self._ends = np.cumsum([0, *map(len, lists)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> NDArray[np.int64]:
        return self._values[self._ends[index] : self._ends[index + 1]].copy()
