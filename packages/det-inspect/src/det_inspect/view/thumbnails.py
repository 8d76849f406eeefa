"""Small pictures, made on demand and stored in a folder; and files of pictures as a browser shows them."""

import hashlib
import io
import os
import threading
from pathlib import Path

from det_core.data.images import opened_image, read_image, read_reduced
from det_core.errors import DataError
from PIL import Image
from torch import Tensor

__all__ = ["Thumbnails", "displayed"]

SIDE = 240
"""Longest side of a thumbnail, pixels."""
_MOST_BYTES = 1 << 30
_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
_decoding = threading.BoundedSemaphore(4)  # bounds the memory of pictures being decoded


class Thumbnails:
    """Thumbnails in a folder, under names of their files, with time and size.

    Args:
        folder: folder of stored thumbnails; made if it is missing. The oldest are deleted above 1 GiB, at the start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            fix = "give another folder with --cache"
            raise DataError(str(folder), "the folder of thumbnails cannot be made", str(error), fix) from error
        _prune(folder)

    def get(self, path: Path) -> Path:
        """The thumbnail of a picture, a JPEG.

        Raises:
            DataError: the picture is missing, damaged or no picture, or the thumbnail cannot be written.
        """
        try:
            about = path.stat()
        except OSError as error:
            raise DataError(str(path), "the file of the picture is missing", error.strerror or str(error)) from error
        key = f"{path.resolve()}|{about.st_mtime_ns}|{about.st_size}|{SIDE}"
        name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        target = self._folder / name[:2] / f"{name}.jpg"
        if not target.exists():
            with _decoding:
                pixels, _ = read_reduced(path, SIDE)
                picture = _pil(pixels)
            picture.thumbnail((SIDE, SIDE))
            _write(picture, target)
        return target


def displayed(path: Path) -> tuple[bytes, str]:
    """The content of a picture for a browser, and its media type: the file if browsers know its format, else a PNG.

    Raises:
        DataError: the picture is missing, damaged or no picture.
    """
    with _decoding:
        pixels = read_image(path)  # also checks that all of it can be decoded
        content = path.read_bytes()
        with opened_image(io.BytesIO(content), str(path)) as picture:
            form = picture.format or ""
        if form in _TYPES:
            return content, _TYPES[form]
        converted = io.BytesIO()
        _pil(pixels).save(converted, "PNG", compress_level=1)
        return converted.getvalue(), "image/png"


def _pil(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def _write(picture: Image.Image, target: Path) -> None:
    """Write a JPEG at once, so that no reader gets a part of it."""
    part = target.with_name(f"{target.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        target.parent.mkdir(exist_ok=True)
        picture.save(part, "JPEG", quality=80)
        part.replace(target)
    except OSError as error:
        raise DataError(str(target), "the thumbnail cannot be written", str(error), "free some space") from error
    finally:
        part.unlink(missing_ok=True)


def _prune(folder: Path) -> None:
    files = [(path.stat(), path) for path in folder.glob("??/*.jpg")]
    total = sum(about.st_size for about, _ in files)
    for about, path in sorted(files, key=lambda each: each[0].st_mtime):
        if total <= _MOST_BYTES:
            break
        path.unlink(missing_ok=True)
        total -= about.st_size
