"""Part, u and v as a PNG in text, as result files of DensePose have them."""

import base64
import binascii
import io

import numpy as np
from det_core.errors import DataError
from numpy.typing import NDArray
from PIL import Image

__all__ = ["compress", "decompress"]

_LARGEST = 64_000_000


def compress(quantized: NDArray[np.uint8]) -> str:
    """An array uint8 (3, h, w) as the base64 text of an RGB PNG."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(quantized.transpose(1, 2, 0))).save(file, format="png", optimize=True)
    return base64.encodebytes(file.getvalue()).decode()


def decompress(text: str, where: str = "result", shape: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """The array uint8 (3, h, w) of such a text.

    Raises:
        DataError: the text is not base64, or not a PNG of three channels and of the given shape.
    """
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.width * picture.height > _LARGEST:
                raise DataError(where, "holds a picture that is too large", f"{picture.width} x {picture.height}")
            array = np.asarray(picture)
    except (binascii.Error, OSError, ValueError, SyntaxError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(where, "holds no PNG in base64", str(error)) from error
    if array.ndim != 3 or array.shape[2] != 3:
        raise DataError(where, "must hold a PNG of three channels", f"got {array.shape}")
    channels = array.transpose(2, 0, 1)
    if shape is not None and tuple(shape) != channels.shape:
        raise DataError(where, "has a size that is not that of its picture", f"{tuple(shape)} and {channels.shape}")
    return np.ascontiguousarray(channels)
