"""Pictures of requests: their bytes, bounded before they are decoded."""

import io
import warnings
from dataclasses import dataclass

from det_core.data import from_pil
from det_core.data.images import opened_image
from det_core.errors import DataError
from PIL import Image
from torch import Tensor

from det_export.serve.settings import RefusedError

__all__ = ["Source", "decode"]

_MOST_SCANS = 200


@dataclass(frozen=True)
class Source:
    """A picture of a request: the bytes of a file, or a URL.

    Attributes:
        name: name of the picture in answers and errors.
        content: bytes of the file; None if it is at `address`.
        address: URL of the picture, "https://...".
    """

    name: str
    content: bytes | None = None
    address: str = ""


def decode(content: bytes, name: str, most_pixels: int) -> Tensor:
    """The picture of a file, uint8 RGB (3, H, W).

    Raises:
        RefusedError: 415, the file is not a picture; 422, it is damaged; 413, it has more pixels than `most_pixels`, or
            is a JPEG with so many scans that decoding it would take minutes.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = opened_image(io.BytesIO(content), name)
    except DataError as error:
        status = 413 if isinstance(error.__cause__, Image.DecompressionBombError) else 415
        raise RefusedError(status, [str(error)]) from error
    with picture:
        if picture.width * picture.height > most_pixels:
            size = f"{picture.width} x {picture.height}"
            raise RefusedError(413, [f"{name}: has {size} pixels; this server takes {most_pixels:,} of a picture"])
        if picture.width * picture.height == 0:
            raise RefusedError(422, [f"{name}: has no pixels"])
        if picture.format in ("JPEG", "MPO") and content.count(b"\xff\xda") > _MOST_SCANS:
            raise RefusedError(413, [f"{name}: is a JPEG of more than {_MOST_SCANS} scans; save it again"])
        try:
            return from_pil(picture, name)
        except DataError as error:
            raise RefusedError(422, [str(error)]) from error
