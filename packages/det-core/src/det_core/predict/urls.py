"""Images at URLs, which prediction takes; datasets read files alone."""

import urllib.request
from http.client import HTTPException
from os import PathLike

from torch import Tensor

from det_core.data.images import decode_image, read_image
from det_core.errors import DataError

__all__ = ["read_image_at"]

_LARGEST = 2**28


def read_image_at(source: str | PathLike[str]) -> Tensor:
    """Read an image, a file or a text "https://...", as uint8 RGB (3, H, W).

    Raises:
        DataError: it cannot be downloaded, exceeds 256 MiB, or is not an image that `read_image` takes.
    """
    if not (isinstance(source, str) and source.startswith(("https://", "http://"))):
        return read_image(source)
    request = urllib.request.Request(source, headers={"User-Agent": "det"})  # some servers refuse Python's own name
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            content: bytes = answer.read(_LARGEST + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise DataError(source, "cannot be downloaded", str(error), "check the address and the network") from error
    if len(content) > _LARGEST:
        raise DataError(source, f"is larger than {_LARGEST >> 20} MiB", fix="download it to a file")
    return decode_image(content, source)
