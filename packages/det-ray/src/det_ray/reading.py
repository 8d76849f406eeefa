"""Reading the images of a block ahead of the model, no more than a bounded number of pixels."""

import tarfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from det_core.errors import DataError
from det_core.files import IMAGE_SUFFIXES

from det_ray.journal import Journal
from det_ray.parquet_source import read_rows
from det_ray.rows import digest
from det_ray.sources import LARGEST, Entry, kind_of, open_file, read_bytes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Picture", "pictures"]

_END = bytes(512)  # a tar file ends with at least one block of zeros
_BROKEN = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError)


@dataclass(frozen=True, eq=False)
class Picture:
    """An image of a block.

    Attributes:
        name: as in the results.
        sha256: of its content; None where that could not be read.
        pixels: uint8 RGB (3, H, W), or why there are none.
    """

    name: str
    sha256: str | None
    pixels: "Tensor | DataError"


_Content = bytes | DataError


def pictures(
    entries: Sequence[Entry], column: str | None, threads: int, ahead: int, journal: Journal
) -> Iterator[Picture]:
    """All images of these entries in order, decoded by `threads`, at most `ahead` of them before they are taken.

    After a worker died, each is noted in the journal before it is decoded; those that end each try are left out.
    """
    waiting: deque[Future[Picture]] = deque()
    with ThreadPoolExecutor(threads, "det-ray-read") as pool:
        try:
            for index, (name, read) in enumerate(_contents(entries, column)):
                if journal.deadly(index):
                    read = partial(_return, DataError(name, "workers died at this image"))
                elif journal.careful:
                    journal.begin(index)
                waiting.append(pool.submit(_decoded, name, read))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _decoded(name: str, read: Callable[[], _Content]) -> Picture:
    from det_core.data.images import decode_image

    content_hash = None
    try:
        content = read()
        if isinstance(content, DataError):
            return Picture(name, None, content)
        content_hash = digest(content)
        pixels = decode_image(content, name)
        if 0 in pixels.shape:
            raise DataError(name, "has no pixels")
        return Picture(name, content_hash, pixels)
    except DataError as error:
        return Picture(name, content_hash, error)
    except MemoryError as error:
        return Picture(name, content_hash, DataError(name, "does not fit into memory", str(error)))


def _contents(entries: Iterable[Entry], column: str | None) -> Iterator[tuple[str, Callable[[], _Content]]]:
    """The name of each image, and what reads its content; files are read when that is called, archives before."""
    for entry in entries:
        kind = kind_of(entry.name)
        if kind == "tar":
            for name, content in _tar_members(entry.name):
                yield name, partial(_return, content)
        elif kind == "parquet":
            yield from _parquet_rows(entry, column)
        else:
            yield entry.name, partial(read_bytes, entry.name)


def _return(content: _Content) -> _Content:
    return content


def _parquet_rows(entry: Entry, column: str | None) -> Iterator[tuple[str, Callable[[], _Content]]]:
    try:
        with open_file(entry.name) as file:
            for name, value in read_rows(file, entry.name, column, entry.first, entry.length):
                yield name, partial(read_bytes, value) if isinstance(value, str) else partial(_return, value)
    except (OSError, DataError) as error:
        fault = error if isinstance(error, DataError) else DataError(entry.name, "cannot be read", str(error))
        for row in range(entry.first, entry.first + entry.length):
            yield f"{entry.name}::{row}", partial(_return, fault)


def _tar_members(name: str) -> Iterator[tuple[str, _Content]]:
    """The images in a tar file; a last one with the reason, named like the file, where that is damaged."""
    count = 0
    try:
        with open_file(name) as file, tarfile.open(fileobj=file, mode="r:*") as archive:
            for member in archive:
                if not member.isfile() or PurePosixPath(member.name).suffix.lower() not in IMAGE_SUFFIXES:
                    continue
                where = f"{name}::{member.name}"
                if member.size > LARGEST:
                    yield where, DataError(where, f"is larger than {LARGEST >> 20} MiB", f"it has {member.size} bytes")
                else:
                    content = archive.extractfile(member)
                    yield where, content.read() if content is not None else b""
                count += 1
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps all that it has read
            # A damaged header ends the iteration like the end of the file.
            stream = archive.fileobj
            assert stream is not None
            stream.seek(archive.offset)
            if stream.read(len(_END)) != _END:
                raise tarfile.ReadError("it does not end as a tar file does")
    except _BROKEN as error:
        yield name, DataError(name, f"the shard is missing, damaged or cut short after {count} images", str(error))
