"""Opens regular files only: reading a pipe, a device or a socket could block forever.

A refusal is an `OSError` with its reason as `strerror`, so that callers report it like any other.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

__all__ = ["descriptor_of", "exists", "open_regular", "read_regular"]

_KINDS = (
    (stat.S_ISFIFO, "it is a pipe, where a regular file is expected"),
    (stat.S_ISSOCK, "it is a socket, where a regular file is expected"),
    (stat.S_ISCHR, "it is a device, where a regular file is expected"),
    (stat.S_ISBLK, "it is a device, where a regular file is expected"),
)
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"))


def descriptor_of(path: str | os.PathLike[str]) -> int:
    """A descriptor for reading a regular file.

    Raises:
        OSError: there is no such file, it is not readable, or it is not regular; for a folder IsADirectoryError.
    """
    try:
        # Checked before opening, as opening a device can have effects, and after, as the file may have been replaced.
        _require(Path(path).stat().st_mode, path)
        descriptor = os.open(path, _FLAGS)
    except ValueError as error:
        raise OSError(errno.EINVAL, "no file can have this name", os.fspath(path)) from error
    try:
        _require(os.fstat(descriptor).st_mode, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def exists(path: Path) -> bool:
    """Whether there is a file of this name; False for invalid names."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file, open for reading bytes; raises like `descriptor_of`."""
    return os.fdopen(descriptor_of(path), "rb")


def read_regular(path: str | os.PathLike[str], largest: int) -> bytes:
    """All bytes of a regular file.

    Raises:
        OSError: as `descriptor_of`; or the file has more than `largest` bytes, and none is read.
    """
    with open_regular(path) as file:
        content = file.read(largest + 1) if os.fstat(file.fileno()).st_size <= largest else b""
        if len(content) > largest or os.fstat(file.fileno()).st_size > largest:
            raise OSError(errno.EFBIG, f"it has more than {largest} bytes", str(Path(path)))
        return content


def _require(mode: int, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder, where a file is expected", os.fspath(path))
    if not stat.S_ISREG(mode):
        kind = next((text for matches, text in _KINDS if matches(mode)), "it is no regular file")
        raise OSError(errno.EINVAL, kind, os.fspath(path))
