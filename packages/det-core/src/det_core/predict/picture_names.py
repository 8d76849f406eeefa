"""Names of the pictures that `det predict` writes: all different, and never that of a file which is not its own."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FreeNames", "is_drawn", "picture_names", "save_picture"]

_MARK = "drawn by det"
"""Stands in each picture, as the comment of a JPEG and the text of a PNG; what has no such mark is not replaced."""


class FreeNames:
    """Finds names within a folder under which a picture may be written.

    Args:
        folder: the folder, which need not be there yet; None if nothing is written.
        inputs: files that must stay as they are, whatever is in them.
    """

    def __init__(self, folder: Path | None, inputs: Iterable[Path] = ()) -> None:
        self.folder = folder
        self._inputs = set() if folder is None else {path.resolve() for path in inputs}
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def take(self, stem: str, suffix: str) -> str:
        """`stem` and `suffix`, or with _2, _3 ... between them where that is taken, or is somebody else's file."""
        key = f"{stem}{suffix}".lower()  # file systems that do not tell a from A take both for one
        number = self._next.get(key, 1)
        while True:
            name = f"{stem}{suffix}" if number == 1 else f"{stem}_{number}{suffix}"
            number += 1
            if name.lower() not in self._taken and self._is_free(name):
                break
        self._next[key] = number
        self._taken.add(name.lower())
        return name

    def _is_free(self, name: str) -> bool:
        if self.folder is None:
            return True
        place = self.folder / name
        if not place.exists() and not place.is_symlink():
            return True
        return place.is_file() and place.resolve() not in self._inputs and is_drawn(place)


def picture_names(paths: Sequence[Path], folder: Path | None) -> list[str]:
    """A file name for the picture of each image, within `folder`; what is not JPEG becomes PNG."""
    free = FreeNames(folder, paths)
    suffixes = (path.suffix if path.suffix.lower() in (".jpg", ".jpeg", ".png") else ".png" for path in paths)
    return [free.take(path.stem, suffix) for path, suffix in zip(paths, suffixes, strict=True)]


def save_picture(picture: "Image", place: Path) -> None:
    """Write a picture with the mark by which a later run knows that it may be replaced."""
    if place.suffix.lower() == ".png":
        from PIL.PngImagePlugin import PngInfo

        text = PngInfo()
        text.add_text("Software", _MARK)
        picture.save(place, pnginfo=text)
    else:
        picture.save(place, comment=_MARK)


def is_drawn(place: Path) -> bool:
    """Whether a file is a picture that `save_picture` has written."""
    from PIL import Image

    try:
        with Image.open(place, formats=("JPEG", "PNG")) as picture:
            marks = picture.info.get("comment"), picture.info.get("Software")
    # What a strange file makes a decoder raise is not bounded; it is not ours then.
    except Exception:
        return False
    return _MARK in marks or _MARK.encode() in marks
