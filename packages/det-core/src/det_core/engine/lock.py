"""A lock on a file, held by one process at a time and let go when that process ends, however it ends."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from det_core.errors import CheckpointError

__all__ = ["lock"]

# Opening and closing the file again would let go of a lock that this process holds.
_held: dict[Path, str] = {}


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, a file that is removed at the end.

    Raises:
        CheckpointError: another process holds it, or the file cannot be made.
    """
    where = path.resolve()
    descriptor = -1 if where in _held else _open_and_lock(path)
    if descriptor < 0:
        holder = ""
        with suppress(OSError):
            holder = _held.get(where) or path.read_text(errors="replace").strip()
        fix = "wait for it to end, or choose another folder with --output"
        raise CheckpointError(str(path.parent), "is in use by another training", holder or "no more is known", fix)
    _held[where] = f"process {os.getpid()} on {socket.gethostname()}"
    try:
        with suppress(OSError):  # on a full disk it holds without a name
            os.ftruncate(descriptor, 0)
            os.write(descriptor, _held[where].encode())
        yield
    finally:
        _held.pop(where, None)
        with suppress(OSError):  # Windows removes no file that is open
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _open_and_lock(path: Path) -> int:
    """The descriptor of the locked file; -1 if another process has locked it."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise CheckpointError(str(path.parent), "cannot be used as the output folder", str(error)) from error
        if not _take(descriptor):
            os.close(descriptor)
            return -1
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
        os.close(descriptor)  # removed by the one that held it before


def _take(descriptor: int) -> bool:
    """Lock an open file, unless another process has; where the file system knows no locks, everybody has it.

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
