"""Reads MATLAB files of version 5 that hold arrays of numbers, and cells and structures of these.

The format is public ("MAT-File Format", The MathWorks): a header of 128 bytes, then elements with a type and a length,
each perhaps compressed. Nothing in such a file is a program.
"""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from det_core.errors import DataError
from numpy.typing import NDArray

__all__ = ["read_mat"]

_TYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
    16: "u1",
    17: "u2",
}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _SPARSE = 1, 2, 5
_CLASSES = {4: "u2", 6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_LARGEST = 4 * 1024**3


def read_mat(path: Path) -> dict[str, Any]:
    """The variables of a file by name: arrays, lists for cells, dicts for structures of one element.

    Raises:
        DataError: the file is not there, is no MATLAB file of version 5, is damaged, or holds something else.
    """
    where = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(where, "cannot be read", error.strerror or str(error), "check the path") from error
    mark = data[126:128]
    if len(data) < 136 or mark not in (b"IM", b"MI"):
        fix = "save it with `-v6` or `-v7`" if data[:8] == b"\x89HDF\r\n\x1a\n" else ""
        raise DataError(where, "is not a MATLAB file of version 5", fix=fix)
    order = "<" if mark == b"IM" else ">"
    variables: dict[str, Any] = {}
    try:
        place = 128
        while place + 8 <= len(data):
            kind, body, place = _element(data, place, order)
            if kind == _COMPRESSED:
                reader = zlib.decompressobj()
                inner = reader.decompress(body, _LARGEST)
                kind, body, _ = _element(inner, 0, order)
            if kind == _MATRIX:
                name, value = _matrix(body, order)
                variables[name] = value
    except (struct.error, zlib.error, ValueError, IndexError, KeyError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(where, "is a MATLAB file that is damaged or holds what is not read here", str(error)) from error
    return variables


def _element(data: bytes, place: int, order: str) -> tuple[int, bytes, int]:
    """Type and content of the element at `place`, and where the next begins."""
    kind, length = struct.unpack_from(f"{order}II", data, place)
    if kind >> 16:  # a small element: type and length share four bytes, the content has the other four
        return kind & 0xFFFF, data[place + 4 : place + 4 + (kind >> 16)], place + 8
    body = data[place + 8 : place + 8 + length]
    if len(body) != length:
        raise ValueError("it ends in the middle of an element")
    padding = 0 if kind == _COMPRESSED else -length % 8
    return kind, body, place + 8 + length + padding


def _numbers(kind: int, body: bytes, order: str) -> NDArray[Any]:
    code = np.dtype(_TYPES[kind]).newbyteorder(order)  # type: ignore[arg-type]
    return np.frombuffer(body, code).astype(code.newbyteorder("="))


def _matrix(body: bytes, order: str) -> tuple[str, Any]:
    """Name and value of an array."""
    if not body:
        return "", np.zeros((0, 0))
    _, flags, place = _element(body, 0, order)
    (word,) = struct.unpack_from(f"{order}I", flags)
    number, is_complex = word & 0xFF, bool(word & 0x800)
    kind, raw, place = _element(body, place, order)
    shape = tuple(int(n) for n in _numbers(kind, raw, order))
    _, raw, place = _element(body, place, order)
    name = raw.decode("latin-1").rstrip("\0")
    if is_complex or number == _SPARSE:
        raise ValueError(f"{name or 'an array'} is complex or sparse")
    if number == _CELL:
        cells = []
        for _ in range(int(np.prod(shape))):
            _, raw, place = _element(body, place, order)
            cells.append(_matrix(raw, order)[1])
        return name, cells
    if number == _STRUCT:
        return name, _structure(body, place, order, int(np.prod(shape)))
    if number not in _CLASSES:
        raise ValueError(f"{name or 'an array'} is of class {number}")
    kind, raw, _ = _element(body, place, order)
    return name, _numbers(kind, raw, order).astype(_CLASSES[number]).reshape(shape, order="F")


def _structure(body: bytes, place: int, order: str, count: int) -> Any:
    """A structure: a dict, or a list of them where it has several elements."""
    kind, raw, place = _element(body, place, order)
    length = int(_numbers(kind, raw, order)[0])
    _, raw, place = _element(body, place, order)
    names = [raw[i : i + length].split(b"\0")[0].decode("latin-1") for i in range(0, len(raw), length)]
    rows = []
    for _ in range(count):
        row = {}
        for name in names:
            _, content, place = _element(body, place, order)
            row[name] = _matrix(content, order)[1]
        rows.append(row)
    return rows[0] if count == 1 else rows
