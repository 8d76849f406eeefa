"""Images in folders."""

from pathlib import Path

from det_core.data.images import IMAGE_SUFFIXES
from det_core.errors import DataError

__all__ = ["image_files"]


def image_files(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[str]:
    """The images in a folder and the folders in it, by name, as paths from `folder` with slashes.

    Raises:
        DataError: there is no such folder, or it holds no image.
    """
    if not folder.is_dir():
        raise DataError(str(folder), "there is no such folder of images", fix="check the path")
    endings = tuple(suffix.lower() for suffix in suffixes)
    found = (file for file in folder.rglob("*") if file.name.lower().endswith(endings) and file.is_file())
    files = sorted(file.relative_to(folder).as_posix() for file in found)
    if not files:
        raise DataError(str(folder), "the folder holds no image", fix=f"files must end in {', '.join(suffixes)}")
    return files
