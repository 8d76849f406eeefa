"""Images in folders, and text files."""

from pathlib import Path

from det_core.errors import DataError
from det_core.files import IMAGE_SUFFIXES
from det_safeload.regular import open_regular

__all__ = ["image_files", "text_of"]


def image_files(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[str]:
    """The images in a folder and the folders in it, by name, as paths from `folder` with slashes.

    Raises:
        DataError: there is no such folder, or it holds no image.
    """
    if not folder.is_dir():
        raise DataError(str(folder), "there is no such folder of images", fix="check the path")
    endings = tuple(suffix.lower() for suffix in suffixes)
    matches = (file for file in folder.rglob("*") if file.name.lower().endswith(endings) and file.is_file())
    files = sorted(file.relative_to(folder).as_posix() for file in matches)
    if not files:
        raise DataError(str(folder), "the folder holds no image", fix=f"files must end in {', '.join(suffixes)}")
    return files


def text_of(path: Path, largest: int, what: str) -> str:
    """A text file of at most `largest` bytes; DataError, calling it `what`, if it is not one."""
    try:
        with open_regular(path) as file:
            content = file.read(largest + 1)
        if len(content) > largest:
            raise DataError(str(path), f"is too large for {what}", f"it has more than {largest} bytes")
        return content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(str(path), "there is no such file", fix="check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(str(path), f"is no text, so not {what}") from error
    except OSError as error:
        raise DataError(str(path), f"cannot be read as {what}", error.strerror or str(error)) from error
