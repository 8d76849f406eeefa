"""Reading photographs, one path for every format: Pillow opens, we turn the result into uint8 RGB."""

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from det_safeload.regular import descriptor_of
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from det_core.errors import DataError
from det_core.structures import Size

__all__ = [
    "decode_image",
    "file_of",
    "from_pil",
    "image_size",
    "opened_image",
    "read_image",
    "read_reduced",
]

ImagePath: TypeAlias = str | os.PathLike[str]

# Pillow knows many more, but some of them start other programs (EPS runs Ghostscript) and none holds photographs.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "MPO", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF")
_ORIENTATION = 0x0112
# How many single bytes are read before a file is given up: Pillow passes over those that mean nothing in a JPEG.
_MAX_SINGLE_BYTES = 1_000_000
# EXIF orientation -> operation on the stored picture.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: ImagePath) -> Tensor:
    """Read one image file as uint8 RGB (3, H, W), upright.

    The EXIF orientation is applied. Transparent parts show white. 16 bits are scaled to 8 (65535 is 255), never
    clipped. Of an animation, the first frame. The memory layout is channels last, which resizes twice as fast.

    Raises:
        DataError: the file is missing, empty, cut short, too large to be safe or no photograph.
    """
    with _open(path) as picture:
        return from_pil(picture, os.fspath(path))


def decode_image(content: bytes, where: str) -> Tensor:
    """The same from the content of a file; `where` names it in errors."""
    with opened_image(io.BytesIO(content), where) as picture:
        return from_pil(picture, where)


def opened_image(stream: io.RawIOBase | io.BytesIO, where: str) -> Image.Image:
    """A Pillow image of a format that `read_image` takes, of which the head alone is read; errors as of that."""
    return _opened(_LimitedReader(stream), where)


def read_reduced(path: ImagePath, at_least: int) -> tuple[Tensor, Size]:
    """Read a JPEG at the smallest size of its decoder with a shorter side of at least `at_least` pixels.

    That is a half, a quarter or an eighth of it, rounded up, or all of it, as with other formats. Also returns the
    (height, width) that `read_image` would give; for the rest see there.
    """
    with _open(path) as picture:
        turned = _orientation(picture, os.fspath(path)) >= 5
        size = (picture.width, picture.height) if turned else (picture.height, picture.width)
        share = at_least / min(size)
        if share <= 0.5:
            picture.draft(None, (math.ceil(picture.width * share), math.ceil(picture.height * share)))
        return from_pil(picture, os.fspath(path)), size


def image_size(path: ImagePath) -> Size:
    """Read the (height, width) that `read_image` would return, from the file's head alone; raises like `read_image`."""
    with _open(path) as picture:
        turned = _orientation(picture, os.fspath(path)) >= 5
        return (picture.width, picture.height) if turned else (picture.height, picture.width)


def file_of(folder: Path, name: str) -> Path:
    """The file of a name in a folder, whether or not it is there; backslashes are those of Windows if it is not."""
    path = folder / name
    return path if "\\" not in name or path.exists() else folder / name.replace("\\", "/")


def from_pil(picture: Image.Image, where: str = "image") -> Tensor:
    """Turn a Pillow image of any mode into uint8 RGB (3, H, W), as `read_image` does; errors start with `where`."""
    try:
        picture.load()
    # Decoders raise any exception at a broken file: OSError, SyntaxError, struct.error, zlib.error ...
    except Exception as error:
        fix = "get the file again, or take it out of the dataset"
        raise DataError(where, "the image is damaged or cut short", str(error), fix) from error
    turn = _TURNS.get(_orientation(picture, where))
    picture = _to_rgb(picture, where)
    if turn is not None:
        picture = picture.transpose(turn)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


class _LimitedReader(io.BufferedReader):
    """A file with a limited number of reads."""

    _left = _MAX_SINGLE_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        if size == 1:
            self._left -= 1
            if self._left < 0:
                raise OSError(f"{_MAX_SINGLE_BYTES} bytes of it mean nothing")
        return super().read(size)


@contextmanager
def _open(path: ImagePath) -> Iterator[Image.Image]:
    """Open a file without decoding it."""
    where = os.fspath(path)
    try:
        with _LimitedReader(io.FileIO(descriptor_of(where))) as stream:
            yield _opened(stream, where)
    except FileNotFoundError as error:
        raise DataError(
            where, "there is no such image file", fix="check the path, and the folder it starts from"
        ) from error
    except IsADirectoryError as error:
        raise DataError(
            where, "is a folder, not an image", fix="name a file, or all with a glob such as '*.jpg'"
        ) from error
    except OSError as error:
        raise DataError(where, "cannot be opened as an image", error.strerror or str(error)) from error


def _opened(stream: io.BufferedReader, where: str) -> Image.Image:
    try:
        return Image.open(stream, formats=_known_formats())
    except UnidentifiedImageError as error:
        empty = stream.seek(0, io.SEEK_END) == 0
        detail = "the file is empty" if empty else ""
        fix = f"give one of {', '.join(_known_formats())}"
        raise DataError(where, "is not an image that can be read", detail, fix) from error
    except Image.DecompressionBombError as error:
        fix = "save it with fewer pixels, or cut it into parts"
        raise DataError(where, "the image is so large that it may be an attack", str(error), fix) from error
    except Exception as error:
        raise DataError(where, "cannot be opened as an image", str(error)) from error


@cache
def _known_formats() -> tuple[str, ...]:
    """Those of our formats that this Pillow was built with."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _orientation(picture: Image.Image, where: str) -> int:
    """The EXIF orientation, 1 where there is none."""
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except Exception as error:
        raise DataError(where, "its EXIF data are damaged", str(error), "save the image again without them") from error
    return value if isinstance(value, int) else 1


def _to_rgb(picture: Image.Image, where: str) -> Image.Image:
    """The picture with 8 bits of red, green and blue; not turned yet."""
    mode = picture.mode
    if mode == "I" or mode.startswith("I;16"):
        return _to_8_bits(np.asarray(picture), where).convert("RGB")
    if mode == "F":
        fix = "save it with 8 or 16 bits per channel"
        raise DataError(where, "holds floating-point values, whose range is not known", fix=fix)
    try:
        if mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in picture.info:
            layer = picture.convert("RGBA")
            page = Image.new("RGBA", layer.size, "white")
            picture = Image.alpha_composite(page, layer)
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    except ValueError as error:
        raise DataError(where, f"has colors of mode {mode}", str(error), "save it as RGB") from error


def _to_8_bits(values: np.ndarray, where: str) -> Image.Image:
    """Grey values of 16 bits (H, W), rounded to 8: value / 257."""
    if values.min() < 0 or values.max() > 65535:
        found = f"values run from {values.min()} to {values.max()}"
        raise DataError(where, "holds more than 16 bits per pixel", found, "save it with 8 or 16 bits per channel")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
