"""Reads pickles of arrays: numbers, text, containers and NumPy arrays are built, nothing else is ever called.

Published Detectron, Detectron2 and D2Go weight files are pickles, and a pickle is a program. Here every name that it
may refer to stands for one of our own functions, all others are refused by name, and nothing of these can be changed by
it. Pickles of all protocols are read, those of Python 2 among them.
"""

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from det_core.errors import WeightsError

__all__ = ["read_pickle", "refused"]

_KINDS = "biuf"
"""Kinds of numbers that an array may hold: true or false, whole, without sign, floating."""


class _RefusedError(Exception):
    """What a pickle asks for and does not get."""


class _Fixed:
    """Something that a pickle can hold and not change."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise _RefusedError("it changes a part of the reader")


class _Maker(_Fixed):
    """Stands for a function or a class."""

    __slots__ = ("_make",)
    _make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise _RefusedError("it changes a part of the reader")

    def __call__(self, *given: Any) -> Any:
        return self._make(*given)


class _Type:
    """A number's type, which is complete once its state has told the order of bytes."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *rest: Any) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        # (version, order of bytes, shape of a part, fields, names, size, alignment, flags)
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise _RefusedError("a type of numbers in an unknown form")
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        """The type itself."""
        code = self.code.decode("ascii", "replace") if isinstance(self.code, bytes) else self.code
        if not isinstance(code, str) or len(code) > 3 or code[:1] not in _KINDS:
            raise _RefusedError(f"an array of {str(code)[:20]!r}, where numbers are expected")
        try:
            return np.dtype(code if self.order == "|" else self.order + code)
        except TypeError as error:
            raise _RefusedError(f"an array of {code!r}, which is no type of numbers") from error


class _Array:
    """An array that is complete once its state has told shape, type and numbers."""

    __slots__ = ("arrays", "value")

    def __init__(self, arrays: "_Arrays") -> None:
        self.arrays = arrays
        self.value: np.ndarray[Any, Any] | None = None

    def __setstate__(self, state: Any) -> None:
        # (version, shape, type, whether the first index varies fastest, bytes)
        if not isinstance(state, tuple) or len(state) != 5:
            raise _RefusedError("an array in an unknown form")
        self.value = self.arrays.make(*state[1:])


class _Arrays:
    """Makes the arrays of one file, and no more bytes of them than the file could hold."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def make(self, shape: Any, kind: Any, columns_first: Any, data: Any) -> np.ndarray[Any, Any]:
        """An array in this machine's order of bytes, which is its own to change."""
        sizes = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if not isinstance(kind, _Type) or not sizes:
            raise _RefusedError("an array in an unknown form")
        raw = data.encode("latin1") if isinstance(data, str) else data
        dtype = kind.dtype()
        if not isinstance(raw, bytes | bytearray) or len(raw) != math.prod(shape) * dtype.itemsize:
            raise _RefusedError(f"an array of shape {shape} whose numbers are not there")
        self.left -= len(raw)
        if self.left < 0:
            raise _RefusedError("it makes more numbers than it holds")
        flat = np.frombuffer(raw, dtype)
        return flat.reshape(shape, order="F" if columns_first else "C").astype(dtype.newbyteorder("="), order="C")

    def empty(self, *given: Any) -> _Array:
        """An array before its state."""
        return _Array(self)

    def scalar(self, kind: Any, data: Any = b"") -> Any:
        """A NumPy number."""
        return self.make((), kind, False, data)[()]

    def from_buffer(self, data: Any, kind: Any, shape: Any, order: Any) -> _Array:
        """An array as protocol 5 writes it."""
        made = _Array(self)
        made.value = self.make(shape, kind, order == "F", data)
        return made


def _encoded(text: Any, encoding: Any = "latin1", *rest: Any) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _RefusedError("text in another encoding than latin1")
    return text.encode("latin1")


def _pairs(items: Any = ()) -> dict[Any, Any]:
    return dict(items)


def _places(limit: int) -> Mapping[tuple[str, str], Any]:
    """What each name stands for; made anew for each file, whose arrays have `limit` bytes at most."""
    arrays = _Arrays(limit)
    known: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "ndarray"): arrays.empty,
        ("numpy", "dtype"): _Type,
        ("collections", "OrderedDict"): _pairs,
        ("_codecs", "encode"): _encoded,
    }
    for core in ("numpy.core", "numpy._core"):
        known[f"{core}.multiarray", "_reconstruct"] = arrays.empty
        known[f"{core}.multiarray", "scalar"] = arrays.scalar
        known[f"{core}.numeric", "_frombuffer"] = arrays.from_buffer
    for python in ("builtins", "__builtin__"):
        known |= {(python, "set"): set, (python, "list"): list, (python, "dict"): dict}
        known |= {(python, "bytearray"): _bytes, (python, "bytes"): _bytes}
    return {name: _Maker(make) for name, make in known.items()}


def _bytes(content: Any = b"", encoding: Any = "latin1") -> bytes:
    if isinstance(content, str):
        return _encoded(content, encoding)
    if not isinstance(content, bytes | bytearray):
        raise _RefusedError("bytes of something else than text")  # bytearray(10**12) would be that large
    return bytes(content)


class _Reader(pickle.Unpickler):
    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        # Equal bytes may be there once and be used twice; text of Python 2 is shorter than its numbers.
        self._known = _places(4 * len(content))

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._known[module, name]
        except KeyError:
            raise _RefusedError(f"it asks for {module}.{name}") from None

    def persistent_load(self, pid: Any) -> NoReturn:
        raise _RefusedError("it refers to something outside of itself")


def read_pickle(path: Path) -> Any:
    """What a pickle holds: numbers, text, bytes, lists, tuples, sets, dictionaries and NumPy arrays of numbers.

    Raises:
        WeightsError: the file asks for anything else, or is damaged, or no pickle.
    """
    content = path.read_bytes()
    try:
        _check(content)
        return _plain(_Reader(content).load(), {})
    except _RefusedError as refused:
        fix = "it may be hostile: get the weights from somebody you trust, as .safetensors"
        raise WeightsError(str(path), "holds more than arrays, and was not read", str(refused), fix) from None
    except MemoryError:
        raise WeightsError(str(path), "is damaged", "it asks for more memory than there is", _AGAIN) from None
    except Exception as error:  # a damaged pickle can fail in any way, all of them inside the reader
        found = f"{type(error).__name__}: {error}"[:200]
        raise WeightsError(str(path), "is damaged, or no weight file", found, _AGAIN) from error


_AGAIN = "copy or download it again"
_TUPLES = 50_000


def _check(content: bytes) -> None:
    """Look at every instruction before any is carried out: sizes that the file cannot fill are refused."""
    tuples = 0
    for number, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        # Python itself fails on keys that are tuples in tuples, a hundred thousand deep.
        tuples += opcode.name.startswith("TUPLE")
        if tuples > _TUPLES:
            raise _RefusedError("it has too many parts")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > number:
            raise _RefusedError("it numbers more parts than it has")
        if opcode.name in ("EXT1", "EXT2", "EXT4"):
            raise _RefusedError("it refers to registered extensions")


def _plain(value: Any, seen: dict[int, Any]) -> Any:
    """The value with arrays in place of our stand-ins; each part is looked at once, however often it is there."""
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, _Array):
        if value.value is None:
            raise _RefusedError("an array without numbers")
        seen[id(value)] = value.value
    elif isinstance(value, _Fixed | _Type):
        raise _RefusedError("it holds a function or a class")
    elif isinstance(value, dict):
        seen[id(value)] = made = {}
        made.update({_plain(key, seen): _plain(each, seen) for key, each in value.items()})
    elif isinstance(value, list):
        seen[id(value)] = rows = list[Any]()
        rows.extend(_plain(each, seen) for each in value)
    elif isinstance(value, tuple | set | frozenset):
        seen[id(value)] = type(value)(_plain(each, seen) for each in value)
    else:
        return value
    return seen[id(value)]


def refused(error: pickle.UnpicklingError) -> str:
    """What a file asked of `torch.load(..., weights_only=True)`; without the advice to let it run code."""
    asked = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"it asks for {asked[1]}" if asked else "there is something else than tensors, or only a part of them"
