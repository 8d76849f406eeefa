"""Panoptic label images: PNG files whose colours are numbers, red + 256 green + 65536 blue."""

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

    Palettes are looked up, and transparency is left out; files of grey values or of 16 bits are refused, since what
    their values stand for would be guessed.

    Raises:
        DataError: the file is missing, damaged, of another size, or holds no colours of 8 bits.
    """
    _require_eight_bits(path)
    with _reading(path), open_regular(path) as file, Image.open(file, formats=("PNG",)) as picture:
        mode = picture.mode
        colours = np.asarray(picture.convert("RGB")) if mode in ("P", "RGBA") else np.asarray(picture)
    if colours.ndim != 3 or colours.shape[2] != 3:
        fix = "save the numbers as colours: red + 256 green + 65536 blue"
        raise DataError(str(path), f"holds one value per pixel (mode {mode}), where colours are wanted", fix=fix)
    if colours.shape[:2] != tuple(size):
        found = f"its image has {size[1]} x {size[0]}"
        raise DataError(str(path), f"has {colours.shape[1]} x {colours.shape[0]} pixels", found)
    numbers: NDArray[np.int64] = colours.astype(np.int64) @ np.array([1, 256, 65536])
    return numbers


def _require_eight_bits(path: Path) -> None:
    """Refuse 16 bits per colour, of which a decoder would drop half without a word."""
    with _reading(path), open_regular(path) as file:
        head = file.read(26)
    # The first chunk of a PNG file begins at 8; its byte 16 is the depth.
    if head.startswith(_PNG) and len(head) == 26 and head[24] > 8:
        raise DataError(str(path), f"has {head[24]} bits per value, where 8 are wanted", fix="save it with 8 bits")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(str(path), "there is no such label image", fix="each image needs one") from error
    except DataError:
        raise
    # What a broken file makes a decoder raise is not bounded.
    except Exception as error:
        raise DataError(str(path), "cannot be read as a label image", str(error)) from error
