"""The images of a source: a folder, a pattern, a list, Parquet files or tar files, local or of any fsspec file system.

A source is listed once, by the driver, without reading images; tar files are not opened. Workers read the content.
"""

import os
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import fsspec
from det_core.errors import ConfigError, DataError
from det_core.files import IMAGE_SUFFIXES
from det_core.predict.urls import content_at

from det_ray.parquet_source import count_rows, find_column

__all__ = [
    "LARGEST",
    "LISTS",
    "PARQUET",
    "TARS",
    "Entry",
    "absolute",
    "kind_of",
    "list_source",
    "open_file",
    "read_bytes",
]

TARS, PARQUET, LISTS = (".tar", ".tar.gz", ".tgz"), (".parquet",), (".txt", ".lst", ".list")
LARGEST = 2**28  # bytes of an image file, as in `det predict`
_ATTEMPTS = 3  # at reading a file that exists
_PAUSE = 0.2  # seconds after the first


class Entry(NamedTuple):
    """Images that lie in one place: a file, all of a tar file, or some rows of a Parquet file.

    Attributes:
        name: path or address.
        first: first row, of Parquet.
        length: number of images; 0 if it is unknown, of a tar file.
    """

    name: str
    first: int = 0
    length: int = 1


def kind_of(name: str) -> str:
    """ "tar", "parquet" or "image", by the suffix."""
    path = _file_part(name).lower()
    return "tar" if path.endswith(TARS) else "parquet" if path.endswith(PARQUET) else "image"


def _file_part(name: str) -> str:
    """The path in the innermost file system: "a/b.jpg" of "zip://a/b.jpg::s3://bucket/c.zip"."""
    return name.partition("::")[0]


def absolute(name: str) -> str:
    """A local path from the root, so that it means the same to every process; addresses are unchanged."""
    return name if "://" in name or "::" in name else os.path.abspath(os.path.expanduser(name))  # noqa: PTH100, PTH111


@cache
def _file_system(address: str) -> Any:
    """The file system of an address "protocol://...", with a chain "::..." of outer ones."""
    try:
        return fsspec.core.url_to_fs(address)[0]
    except (ImportError, ValueError, OSError) as error:
        fix = "install what its file system needs, such as s3fs or gcsfs, and check the address"
        raise DataError(address, "cannot be opened", str(error), fix) from error


def _locate(name: str) -> tuple[Any, str]:
    """The file system of a path or address, and the path in it."""
    if "://" not in name and "::" not in name:
        return fsspec.filesystem("file"), name
    protocol, _, chain = name.partition("://")[0], *name.partition("::")[1:]
    system = _file_system(f"{protocol}://::{chain}" if chain else f"{protocol}://")
    return system, system._strip_protocol(_file_part(name))


def open_file(name: str) -> Any:
    """A binary file, seekable; errors are those of its file system."""
    system, path = _locate(name)
    return system.open(path, "rb")


def read_bytes(name: str) -> bytes:
    """The content of an image file.

    Raises:
        DataError: it is missing, unreadable, or larger than 256 MiB.
    """
    if name.startswith(("http://", "https://")):
        return content_at(name)
    for attempt in range(_ATTEMPTS):
        try:
            system, path = _locate(name)
            size = system.size(path)
            if size is not None and size > LARGEST:
                raise DataError(name, f"is larger than {LARGEST >> 20} MiB", f"it has {size} bytes")
            content: bytes = system.cat_file(path)
        except (FileNotFoundError, KeyError) as error:
            raise DataError(name, "there is no such image file") from error
        except (IsADirectoryError, PermissionError) as error:
            raise DataError(name, "cannot be read", error.strerror or str(error)) from error
        except OSError as error:  # networks fail for moments
            if attempt == _ATTEMPTS - 1:
                raise DataError(name, "cannot be read", error.strerror or str(error)) from error
            time.sleep(_PAUSE * 2**attempt)
        else:
            break
    return content


def list_source(source: str, column: str | None, block: int) -> list[Entry]:
    """All images of a source, in an order that depends on nothing but their names.

    Args:
        source: a folder, which is searched with all folders in it except hidden ones; a pattern; a list file with a
            path or address in each line; a Parquet file; a tar file; an image.
        column: column of Parquet files with the content or the paths of images; None to find it.
        block: maximum number of rows in an entry of Parquet.

    Raises:
        DataError: it does not exist, or holds no image.
        ConfigError: there is no such column.
    """
    source = absolute(source)
    names = _listed_in(source) if _file_part(source).lower().endswith(LISTS) else _files(source)
    entries: list[Entry] = []
    for name in names:
        kind = kind_of(name)
        if kind == "parquet":
            with open_file(name) as file:
                rows = count_rows(file, name)
                find_column(file, name, column)
            entries += [Entry(name, row, min(block, rows - row)) for row in range(0, rows, block)]
        else:
            entries.append(Entry(name, 0, 0 if kind == "tar" else 1))
    if column is not None and not any(kind_of(entry.name) == "parquet" for entry in entries):
        raise ConfigError("--column", "is for Parquet files, but the source has none", source)
    if not entries:
        raise DataError(source, "holds no image", fix="check the path")
    return entries


def _files(source: str) -> list[str]:
    """The files of a folder or a pattern, or the file itself."""
    if source.startswith(("http://", "https://")):
        return [source]
    system, path = _locate(source)
    chain = "".join(source.partition("::")[1:])

    def full_path(path: str) -> str:
        return path if "://" not in source and "::" not in source else system.unstrip_protocol(path) + chain

    try:
        if any(sign in path for sign in "*?[") and not system.exists(path):
            matches = [each for each in sorted(system.glob(path)) if system.isfile(each)]
            if not matches:
                raise DataError(source, "no file is called like this", fix="check the pattern")
            return [full_path(each) for each in matches]
        if system.isdir(path):
            return [full_path(each) for each in _in_folder(system, path, source)]
        if not system.exists(path):
            raise DataError(source, "there is no such folder or file", fix="check the path")
    except OSError as error:
        raise DataError(source, "cannot be listed", error.strerror or str(error)) from error
    if kind_of(source) == "image" and not _is_image(source):
        fix = f"give images ({', '.join(IMAGE_SUFFIXES[:4])} ...), a list ({', '.join(LISTS)}), .parquet or .tar"
        raise DataError(source, "is none of the files that hold images", fix=fix)
    return [source]


def _in_folder(system: Any, folder: str, source: str) -> list[str]:
    """Its images; or, where there is none, its tar and Parquet files."""
    start = len(folder.rstrip("/")) + 1
    paths = [each for each in sorted(system.find(folder)) if not _is_hidden(each[start:] if folder else each)]
    if images := [path for path in paths if _is_image(path)]:
        return images
    shards = [path for path in paths if kind_of(path) != "image"]
    if not shards:
        fix = f"files must end in {', '.join((*IMAGE_SUFFIXES, *TARS, *PARQUET))}"
        raise DataError(source, "the folder holds no image", f"it has {len(paths)} files", fix)
    return shards


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(path).parts)


def _is_image(path: str) -> bool:
    return PurePosixPath(_file_part(path)).suffix.lower() in IMAGE_SUFFIXES


def _listed_in(source: str) -> Sequence[str]:
    """The lines of a list; paths start from its folder."""
    try:
        with open_file(source) as file:
            lines = file.read().decode("utf-8").splitlines()
    except FileNotFoundError as error:
        raise DataError(source, "there is no such list", fix="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(source, "cannot be read as a list of paths", str(error), "write one path in a line") from error
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise DataError(source, "the list is empty", fix="write one path in a line")
    return list(_from_folder_of(source, names))


def _from_folder_of(source: str, names: Sequence[str]) -> Iterator[str]:
    local = "://" not in source
    folder = str(Path(source).parent) if local else source.rpartition("/")[0]
    for name in names:
        if "://" in name or name.startswith("/") or (local and Path(name).is_absolute()):
            yield name
        else:
            yield os.path.normpath(f"{folder}/{name}") if local else f"{folder}/{name}"
