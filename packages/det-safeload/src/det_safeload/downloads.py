"""Downloads: interrupted ones resume, and an HTML page in place of a file is recognized."""

import re
import urllib.error
import urllib.request
from pathlib import Path

from det_safeload.regular import open_regular

__all__ = ["download", "is_page"]

_CHUNK = 1 << 20
_TIMEOUT = 30


def is_page(path: Path) -> bool:
    """Whether a file is HTML, such as the error page of a site in place of a file."""
    with open_regular(path) as file:
        return re.match(rb"\s*<(!doctype html|html|head)\b", file.read(512), re.IGNORECASE) is not None


def download(address: str, part: Path) -> None:
    """Fill `part` from an address, from the byte at which an earlier attempt stopped.

    Raises:
        OSError: there is no answer, or the connection ended early; the partial file is kept.
        HTTPException, ValueError: the answer, or the address, is invalid.
    """
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # "range not satisfiable": the partial file is complete, or longer
            raise
        part.unlink()
        return download(address, part)
    with answer:
        goes_on = answer.status == 206
        expected = answer.headers.get("Content-Length")
        with part.open("ab" if goes_on else "wb") as file:
            start = file.tell()
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
            num_bytes = file.tell() - start
    if expected is not None and num_bytes < int(expected):
        raise OSError(f"the connection ended after {num_bytes} of {expected} bytes; the partial file is kept")
    return None
