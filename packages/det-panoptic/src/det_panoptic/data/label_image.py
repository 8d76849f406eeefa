"""Panoptic label images: PNG files with a segment id as the color of each pixel, red + 256 green + 65536 blue."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from det_core.errors import DataError
from det_core.structures import Size
from det_safeload.regular import open_regular
from numpy.typing import NDArray
from PIL import Image

__all__ = ["read_label_image"]

_PNG = b"\x89PNG\r\n\x1a\n"


def read_label_image(path: Path, size: Size) -> NDArray[np.int64]:
    """The number of each pixel, int64 (H, W).

    Palettes are applied, and transparency is ignored; grayscale files and files of 16 bits are refused, since the
    meaning of their values is ambiguous.

    Raises:
        DataError: the file is missing, damaged, of another size, or has no 8-bit colors.
    """
    _require_eight_bits(path)
    with _reading(path), open_regular(path) as file, Image.open(file, formats=("PNG",)) as picture:
        mode = picture.mode
        colors = np.asarray(picture.convert("RGB")) if mode in ("P", "RGBA") else np.asarray(picture)
    if colors.ndim != 3 or colors.shape[2] != 3:
        fix = "save the numbers as colors: red + 256 green + 65536 blue"
        raise DataError(str(path), f"has one value per pixel (mode {mode}), where colors are expected", fix=fix)
    if colors.shape[:2] != tuple(size):
        found = f"its image has {size[1]} x {size[0]}"
        raise DataError(str(path), f"has {colors.shape[1]} x {colors.shape[0]} pixels", found)
    numbers: NDArray[np.int64] = colors.astype(np.int64) @ np.array([1, 256, 65536])
    return numbers


def _require_eight_bits(path: Path) -> None:
    """Refuse 16 bits per channel, of which a decoder would silently drop half."""
    with _reading(path), open_regular(path) as file:
        head = file.read(26)
    # The first chunk of a PNG file begins at 8; its byte 16 is the depth.
    if head.startswith(_PNG) and len(head) == 26 and head[24] > 8:
        raise DataError(str(path), f"has {head[24]} bits per value, where 8 are expected", fix="save it with 8 bits")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(str(path), "there is no such label image", fix="each image needs one") from error
    except DataError:
        raise
    # A decoder may raise any exception on a broken file.
    except Exception as error:
        raise DataError(str(path), "cannot be read as a label image", str(error)) from error
