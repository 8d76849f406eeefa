"""Files fetched from elsewhere: broken downloads go on where they stopped, and a page in place of a file is known."""

import contextlib
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from det_safeload.regular import open_regular

__all__ = ["alone", "download", "is_page"]

_CHUNK = 1 << 20
_TIMEOUT = 30


def is_page(path: Path) -> bool:
    """Whether a file is HTML, as what a site says instead of giving a file."""
    with open_regular(path) as file:
        return re.match(rb"\s*<(!doctype html|html|head)\b", file.read(512), re.IGNORECASE) is not None


def download(address: str, part: Path) -> None:
    """Fill `part` from an address, from where an earlier try stopped.

    Raises:
        OSError: there is no answer, or the connection ended early; what is here is kept.
        HTTPException, ValueError: the answer, or the address, is none.
    """
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # "range not satisfiable": what is here is all there is, or more
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
            got = file.tell() - start
    if expected is not None and got < int(expected):
        raise OSError(f"the connection ended after {got} of {expected} bytes; what is here is kept")
    return None


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the only permission to write into a folder; another process waits, and one that dies lets go."""
    with path.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
