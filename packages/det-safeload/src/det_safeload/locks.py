"""Locks on files, held by one process at a time and released when that process ends, however it ends."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["HeldError", "alone", "lock"]

# Opening and closing the file again would let go of a lock that this process holds.
_holders: dict[Path, str] = {}


class HeldError(Exception):
    """A lock is held by another process; the text names it, or is "" if it is unknown."""


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock at `path`; waits until other processes have released it, and leaves the file."""
    with path.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock at `path` without waiting, a file that is removed at the end.

    Raises:
        HeldError: another process holds it.
        OSError: the file cannot be opened or made.
    """
    where = path.resolve()
    descriptor = -1 if where in _holders else _open_and_lock(path)
    if descriptor < 0:
        holder = ""
        with suppress(OSError):
            holder = _holders.get(where) or path.read_text(errors="replace").strip()
        raise HeldError(holder)
    _holders[where] = f"process {os.getpid()} on {socket.gethostname()}"
    try:
        with suppress(OSError):  # on a full disk it holds without a name
            os.ftruncate(descriptor, 0)
            os.write(descriptor, _holders[where].encode())
        yield
    finally:
        _holders.pop(where, None)
        with suppress(OSError):  # Windows removes no file that is open
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _open_and_lock(path: Path) -> int:
    """The descriptor of the locked file; -1 if another process has locked it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _take(descriptor):
            os.close(descriptor)
            return -1
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
        os.close(descriptor)  # removed by the one that held it before


def _take(descriptor: int) -> bool:
    """Lock an open file, unless another process has; on file systems without locks, all processes have it.

    The lock is the process's alone: those that it forks, such as loader workers, do not keep it alive.
    """
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import errno
    import fcntl

    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True
