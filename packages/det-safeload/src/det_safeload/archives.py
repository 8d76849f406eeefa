"""Reads files of `torch.save`, zip archives and the streams of torch before 1.6, without torch's reader.

Both are pickles that refer to storages: blocks of numbers of one type. Here the pickle is executed by `machine`,
storages are at most as large as the file, and every tensor lies within its storage. Strided tensors of plain numbers
are read; sparse and quantized ones, programs (TorchScript) and tar archives of 2016 are refused.
"""

import io
import math
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from det_safeload.budget import MIB, Budget, OverBudgetError
from det_safeload.machine import Name, Readable, RefusedError, execute, require_small
from det_safeload.pickles import Plain, array_of, names_of_arrays
from det_safeload.printable import quoted
from det_safeload.regular import open_regular

__all__ = ["read_archive"]

_PARTS = 500_000
_DIRECTORY = 8 * MIB  # maximum size, in bytes, of the central directory of an archive
_LARGEST, _AXES = 2**62, 64
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_STORAGES: Mapping[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
_DTYPES = (
    *("float64", "double", "float32", "float", "float16", "half", "bfloat16", "int64", "long", "int32", "int"),
    *("int16", "short", "int8", "uint8", "bool", "complex64", "cfloat", "complex128", "cdouble"),
    *("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"),
)


def read_archive(path: Path) -> Any:
    """The content of a `torch.save` file: tensors on the CPU, plain values, and containers of those.

    Raises:
        OSError: it cannot be read.
        RefusedError: it asks for something other than tensors and plain values.
        OverBudgetError: it asks for too much.
        Exception: it is damaged; the classes are not bounded.
    """
    with open_regular(path) as file:
        start = file.read(512)
        file.seek(0)
        if start[257:262] == b"ustar" or _is_old_tar(start):
            raise RefusedError("it is a tar archive, as torch wrote in 2016; save its state dict with a newer torch")
        reader: _Zip | _Stream = _Zip(file) if start.startswith(b"PK\x03\x04") else _Stream(file)
        return reader.read()


def _is_old_tar(start: bytes) -> bool:
    """Whether these 512 bytes are a tar header without a magic number: its checksum fits."""
    field = start[148:156].strip(b"\0 ")
    if len(start) < 512 or not field.isdigit() or len(field) > 7 or set(field) - set(b"01234567"):
        return False
    return int(field, 8) == sum(start) - sum(start[148:156]) + 8 * 32


class _Piece:
    """A storage as a one-dimensional tensor. `dtype` is None for an untyped storage."""

    def __init__(self, numbers: Tensor, dtype: torch.dtype | None) -> None:
        self.numbers, self.dtype = numbers, dtype


class _Tensors:
    """Makes the tensors of one file, which share the memory of its storages."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget

    def of_typed(self, piece: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
        """As `torch._utils._rebuild_tensor_v2` is called."""
        return self._strided(piece, piece.dtype if isinstance(piece, _Piece) else None, offset, size, stride)

    def of_untyped(self, piece: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
        """As `torch._utils._rebuild_tensor_v3` is called: (requires_grad, hooks, dtype, metadata) follow."""
        return self._strided(piece, rest[2] if len(rest) > 2 else None, offset, size, stride)

    def parameter(self, tensor: Any, *rest: Any) -> Tensor:
        """A parameter as the tensor that it wraps."""
        if not isinstance(tensor, Tensor):
            raise RefusedError("it has a parameter of no tensor")
        return tensor

    def _strided(self, piece: Any, dtype: Any, offset: Any, size: Any, stride: Any) -> Tensor:
        whole = (offset, *size, *stride) if isinstance(size, tuple) and isinstance(stride, tuple) else (None,)
        if not isinstance(piece, _Piece) or not isinstance(dtype, torch.dtype) or len(size) != len(stride):
            raise RefusedError("it has a tensor in an unknown form")
        if len(size) > _AXES or not all(type(number) is int and 0 <= number < _LARGEST for number in whole):
            raise RefusedError(f"it has a tensor of shape {quoted(size)}")
        count = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else 0
        numbers = piece.numbers if piece.dtype is not None else piece.numbers.view(dtype)
        if last >= len(numbers) and count:
            raise RefusedError(f"it has a tensor of shape {quoted(size)} whose numbers are not there")
        if count > len(numbers):  # strides of 0 repeat them, and copying such a tensor writes all of them
            self.budget.spend_size(count * numbers.element_size())
        self.budget.spend_parts(10)
        return torch.as_strided(numbers, size, stride, offset) if count else numbers.new_empty(size)


class _Reader:
    """Common parts of the readers of both formats."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.length = file.seek(0, io.SEEK_END)
        self.budget = Budget(_PARTS, 64 * MIB)
        self.pieces: dict[str, _Piece] = {}
        self.promised = 0  # bytes of the storages that follow in the file
        tensors = _Tensors(self.budget)
        self.names = names_of_arrays(self.budget) | {
            ("torch._utils", "_rebuild_tensor_v2"): Name(tensors.of_typed),
            ("torch._utils", "_rebuild_tensor"): Name(tensors.of_typed),
            ("torch._utils", "_rebuild_tensor_v3"): Name(tensors.of_untyped),
            ("torch._utils", "_rebuild_parameter"): Name(tensors.parameter),
            ("torch.nn.parameter", "Parameter"): Name(tensors.parameter),
            ("torch", "Size"): Name(_size),
            ("torch", "device"): Name(_device),
            ("torch.storage", "UntypedStorage"): Name(value=_Storage(None)),
            ("torch", "UntypedStorage"): Name(value=_Storage(None)),
        }
        self.names |= {("torch", name): Name(value=_Storage(dtype)) for name, dtype in _STORAGES.items()}
        self.names |= {("torch", name): Name(value=getattr(torch, name)) for name in _DTYPES if hasattr(torch, name)}

    def execute(self, stream: Readable, persistent: Callable[[Any], Any] | None = None) -> Any:
        return execute(stream, self.names, self.budget, persistent)

    def reference(self, persistent_id: Any) -> tuple["_Storage", str, int]:
        """Type, name and number of elements of the storage that a pickle refers to."""
        valid = (
            isinstance(persistent_id, tuple)
            and len(persistent_id) >= 5
            and persistent_id[0] == "storage"
            and type(persistent_id[4]) is int
        )
        if not valid or not isinstance(persistent_id[1], _Storage) or not isinstance(persistent_id[2], str):
            raise RefusedError("it refers to something outside of itself in an unknown form")
        if not 0 <= persistent_id[4] <= self.length:
            raise RefusedError("it refers to more numbers than it holds")
        return persistent_id[1], persistent_id[2], persistent_id[4]

    def plain(self, value: Any) -> Any:
        require_small(value, Budget(_PARTS))
        return Plain(_single).of(value)


class _Storage:
    """The type of a storage; None for bytes."""

    def __init__(self, dtype: torch.dtype | None) -> None:
        self.dtype = dtype

    @property
    def itemsize(self) -> int:
        return 1 if self.dtype is None else self.dtype.itemsize

    def piece(self, content: bytearray, count: int) -> _Piece:
        dtype = self.dtype or torch.uint8
        if len(content) != count * dtype.itemsize:
            raise ValueError(f"a storage has {len(content)} bytes in place of {count * dtype.itemsize}")
        numbers = torch.frombuffer(content, dtype=dtype) if content else torch.zeros(0, dtype=dtype)
        return _Piece(numbers, self.dtype)


class _Zip(_Reader):
    """The archives of torch 1.6 and later: `NAME/data.pkl`, and a file for each storage, `NAME/data/KEY`."""

    def read(self) -> Any:
        self._require_short_directory()
        with zipfile.ZipFile(self.file) as archive:
            self.archive = archive
            members = {each.filename: each for each in archive.infolist()}
            # torch.save stores files uncompressed; compressing them saves next to nothing.
            stored = sum(each.compress_size for each in members.values())
            whole = sum(each.file_size for each in members.values())
            if len(members) != len(archive.infolist()) or stored > self.length or whole > 4 * stored + 16 * MIB:
                raise RefusedError(f"its parts amount to {whole} bytes, in a file of {self.length}")
            self.members = members
            top = next((name.removesuffix("data.pkl") for name in members if name.count("/") == 1), "")
            if f"{top}data.pkl" not in members:
                raise ValueError("it has no data.pkl")
            if any(name.startswith(f"{top}code/") for name in members) or f"{top}constants.pkl" in members:
                raise RefusedError("it is a program (TorchScript), not weights; save the state dict of the module")
            self.top = top
            if f"{top}byteorder" in members and self._content(f"{top}byteorder", 16).strip() != b"little":
                raise RefusedError("its numbers are in another order of bytes; save it on a little-endian machine")
            if members[f"{top}data.pkl"].file_size > 64 * MIB:
                raise OverBudgetError("its list of tensors is larger than 64 MiB")
            value = self.execute(io.BytesIO(self._content(f"{top}data.pkl", 64 * MIB)), self._piece)
            return self.plain(value)

    def _require_short_directory(self) -> None:
        """Check the length of the central directory, given at the end of the archive, before reading it."""
        self.file.seek(max(0, self.length - 65_600))
        tail = self.file.read(65_600)
        place = tail.rfind(b"PK\x05\x06")
        if place < 0 or len(tail) < place + 22:
            raise ValueError("it is cut short")
        (size,) = struct.unpack("<I", tail[place + 12 : place + 16])
        if size == 0xFFFFFFFF and (far := tail.rfind(b"PK\x06\x06")) >= 0 and len(tail) >= far + 48:
            (size,) = struct.unpack("<Q", tail[far + 40 : far + 48])
        if size > _DIRECTORY:
            raise OverBudgetError("its list of files is too long")

    def _content(self, name: str, largest: int | None = None) -> bytearray:
        """All bytes of a file of the archive, as many as its directory lists."""
        about = self.members[name]
        if largest is not None and about.file_size > largest:
            raise OverBudgetError(f"{quoted(name)} has more than {largest} bytes")
        content = bytearray(about.file_size)
        with self.archive.open(about) as stream:
            place, view = 0, memoryview(content)
            while place < len(content) and (count := stream.readinto(view[place:])):  # type: ignore[attr-defined]
                place += count
            if place != len(content) or stream.read(1):
                raise ValueError(f"{quoted(name)} is cut short")
        return content

    def _piece(self, persistent_id: Any) -> _Piece:
        kind, key, count = self.reference(persistent_id)
        if key not in self.pieces:
            name = f"{self.top}data/{key}"
            if name not in self.members:
                raise ValueError(f"it has no storage {quoted(key)}")
            self.pieces[key] = kind.piece(self._content(name), count)
        piece = self.pieces[key]
        if piece.dtype != kind.dtype:
            raise RefusedError("it refers to a storage as of two types")
        return piece


class _Stream(_Reader):
    """The files of torch before 1.6: four pickles, the names of the storages, and the storages one after another."""

    def read(self) -> Any:
        self.file.seek(0)
        file = _Clipped(self.file, self.length)
        if self.execute(file) != _MAGIC or self.execute(file) != _PROTOCOL:
            raise ValueError("it does not begin like a file of torch")
        about = self.execute(file)
        if not isinstance(about, dict) or about.get("little_endian") is not True:
            raise RefusedError("its numbers are in another order of bytes")
        value = self.execute(file, self._promised)
        order = self.execute(file)
        if not isinstance(order, list) or sorted(map(str, order)) != sorted(self.pieces):
            raise ValueError("its storages are not those that its tensors need")
        for key in order:
            self._fill(file, key)
        return self.plain(value)

    def _promised(self, persistent_id: Any) -> _Piece:
        """A storage with its numbers later in the file; all of them fit into it."""
        kind, key, count = self.reference(persistent_id)
        if len(persistent_id) > 5 and persistent_id[5] is not None:
            raise RefusedError("it has a view of a storage, as torch wrote before 0.4")
        if key not in self.pieces:
            # Nothing is allocated beyond the length of the file.
            self.promised += count * kind.itemsize
            if self.promised > self.length:
                raise RefusedError("it refers to more numbers than it holds")
            self.pieces[key] = kind.piece(bytearray(count * kind.itemsize), count)
        return self.pieces[key]

    def _fill(self, file: "_Clipped", key: Any) -> None:
        numbers = self.pieces[str(key)].numbers
        head = file.read(8)
        if len(head) < 8 or struct.unpack("<q", head)[0] != len(numbers):
            raise ValueError("a storage has another length than its tensors need")
        content = file.read(len(numbers) * numbers.element_size())
        if len(content) != len(numbers) * numbers.element_size():
            raise ValueError("it is cut short")
        if content:
            numbers.copy_(torch.frombuffer(bytearray(content), dtype=numbers.dtype))


class _Clipped:
    """A file whose reads never request more than is left, so that no memory is allocated for missing bytes."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file, self._length = file, length

    def read(self, size: int = -1, /) -> bytes:
        left = self._length - self._file.tell()
        return self._file.read(left if size < 0 else min(size, left))

    def readline(self) -> bytes:
        return self._file.readline()

    def tell(self) -> int:
        return self._file.tell()


def _size(numbers: Any = ()) -> tuple[Any, ...]:
    if not isinstance(numbers, tuple | list) or len(numbers) > _AXES:
        raise RefusedError("it has a size in an unknown form")
    return tuple(numbers)


def _device(*arguments: Any) -> str:
    return ":".join(map(str, arguments))[:30]


def _single(value: Any) -> Any:
    if isinstance(value, _Storage | _Piece):
        raise RefusedError("it holds a storage")
    return array_of(value)
