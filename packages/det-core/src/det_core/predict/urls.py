"""Images at URLs, which prediction takes; datasets read files alone."""

import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from os import PathLike
from typing import Any

from torch import Tensor

from det_core.data.images import decode_image, read_image
from det_core.errors import DataError

__all__ = ["content_at", "read_image_at"]

_LARGEST = 2**28


def read_image_at(source: str | PathLike[str]) -> Tensor:
    """Read an image, a file or a text "https://...", as uint8 RGB (3, H, W).

    Raises:
        DataError: it cannot be downloaded, exceeds 256 MiB, or is not an image that `read_image` takes.
    """
    if not (isinstance(source, str) and source.startswith(("https://", "http://"))):
        return read_image(source)
    return decode_image(content_at(source), source)


def content_at(
    address: str, opener: Callable[..., Any] = urllib.request.urlopen, largest: int = _LARGEST, timeout: float = 30
) -> bytes:
    """The bytes at an address "https://...".

    Args:
        address: URL of the file to download.
        opener: takes a request and `timeout`, as `urllib.request.urlopen` does.
        largest: maximum size of the content in bytes.
        timeout: timeout of each step of the connection, in seconds.

    Raises:
        DataError: it cannot be downloaded, or is larger.
    """
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "det"})  # some servers refuse Python's name
        with opener(request, timeout=timeout) as answer:
            content: bytes = answer.read(largest + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise DataError(address, "cannot be downloaded", str(error), "check the address and the network") from error
    if len(content) > largest:
        raise DataError(address, f"is larger than {largest / 2**20:g} MiB", fix="download it to a file")
    return content
