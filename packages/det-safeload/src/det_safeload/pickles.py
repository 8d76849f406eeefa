"""Reads pickles of arrays: builds numbers, text, containers and NumPy arrays, and calls nothing else.

Published Detectron, Detectron2 and D2Go weight files are pickles, and a pickle is a program. `machine` executes it:
every allowed name stands for one of our functions, all others are refused by name, and the file cannot change these
functions. Pickles of all protocols are read, including those of Python 2.
"""

import math
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from det_safeload.budget import MIB, Budget
from det_safeload.machine import DICT, LIST, SET, Name, RefusedError, execute, require_small
from det_safeload.printable import quoted
from det_safeload.regular import open_regular

__all__ = ["Plain", "array_of", "names_of_arrays", "read_pickle"]

_KINDS = "biuf"
"""NumPy kinds of array elements: boolean, signed, unsigned, floating."""


class _Type:
    """A NumPy dtype, complete once its state has set the byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *rest: Any) -> None:
        self.code, self.order = code, "="

    def set_state(self, state: Any) -> None:
        # (version, order of bytes, shape of a part, fields, names, size, alignment, flags)
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise RefusedError("a type of numbers in an unknown form")
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype."""
        code = self.code.decode("ascii", "replace") if isinstance(self.code, bytes) else self.code
        if not isinstance(code, str) or len(code) > 3 or code[:1] not in _KINDS:
            raise RefusedError(f"an array of {str(code)[:20]!r}, where numbers are expected")
        try:
            return np.dtype(code if self.order == "|" else self.order + code)
        except TypeError as error:
            raise RefusedError(f"an array of {code!r}, which is no type of numbers") from error


class _Array:
    """An array, complete once its state has set shape, type and numbers."""

    __slots__ = ("arrays", "value")

    def __init__(self, arrays: "_Arrays") -> None:
        self.arrays = arrays
        self.value: np.ndarray[Any, Any] | None = None

    def set_state(self, state: Any) -> None:
        # (version, shape, type, whether the first index varies fastest, bytes)
        if not isinstance(state, tuple) or len(state) != 5:
            raise RefusedError("an array in an unknown form")
        self.value = self.arrays.make(*state[1:])


class _Arrays:
    """Builds the arrays of one file, within its budget."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget

    def make(self, shape: Any, kind: Any, columns_first: Any, data: Any) -> np.ndarray[Any, Any]:
        """A writable array in native byte order."""
        sizes = isinstance(shape, tuple) and len(shape) <= _AXES
        sizes = sizes and all(type(n) is int and 0 <= n < _LARGEST for n in shape)
        if not isinstance(kind, _Type) or not sizes:
            raise RefusedError("an array in an unknown form")
        dtype = kind.dtype()
        if not isinstance(data, str | bytes) or len(data) != math.prod(shape) * dtype.itemsize:
            raise RefusedError(f"an array of shape {quoted(shape)} whose numbers are not there")
        self.budget.spend_size(len(data))
        raw = data.encode("latin1") if isinstance(data, str) else data
        flat = np.frombuffer(raw, dtype)
        return flat.reshape(shape, order="F" if columns_first else "C").astype(dtype.newbyteorder("="), order="C")

    def empty(self, *arguments: Any) -> _Array:
        """An array before its state."""
        return _Array(self)

    def scalar(self, kind: Any, data: Any = b"") -> Any:
        """A NumPy number."""
        return self.make((), kind, False, data)[()]

    def from_buffer(self, data: Any, kind: Any, shape: Any, order: Any) -> _Array:
        """An array as protocol 5 writes it."""
        array = _Array(self)
        array.value = self.make(shape, kind, order == "F", data)
        return array


_AXES, _LARGEST = 32, 2**63


def _names_of_python(budget: Budget) -> dict[tuple[str, str], Name]:
    """Containers and bytes under their names in Python 2 and 3."""

    def encoded(text: Any, encoding: Any = "latin1", *rest: Any) -> bytes:
        """Bytes as Python 3 writes them for Python 2."""
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise RefusedError("text in another encoding than latin1")
        budget.spend_size(len(text))
        return text.encode("latin1")

    def plain_bytes(content: Any = b"", encoding: Any = "latin1") -> bytes:
        if isinstance(content, str):
            return encoded(content, encoding)
        if not isinstance(content, bytes):
            raise RefusedError("bytes of something other than text")  # bytearray(10**12) would be that large
        return content

    names = {("collections", "OrderedDict"): DICT, ("_codecs", "encode"): Name(encoded)}
    for python in ("builtins", "__builtin__"):
        names |= {(python, "set"): SET, (python, "list"): LIST, (python, "dict"): DICT}
        names |= {(python, "bytearray"): Name(plain_bytes), (python, "bytes"): Name(plain_bytes)}
    return names


def names_of_arrays(budget: Budget) -> dict[tuple[str, str], Name]:
    """Meaning of the names of containers, bytes and NumPy's arrays and numbers; one table per file."""
    arrays = _Arrays(budget)
    makers: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "ndarray"): arrays.empty,
        ("numpy", "dtype"): _Type,
    }
    for core in ("numpy.core", "numpy._core"):
        makers[f"{core}.multiarray", "_reconstruct"] = arrays.empty
        makers[f"{core}.multiarray", "scalar"] = arrays.scalar
        makers[f"{core}.numeric", "_frombuffer"] = arrays.from_buffer
    return _names_of_python(budget) | {name: Name(make) for name, make in makers.items()}


def read_pickle(path: Path, parts: int = 500_000) -> Any:
    """The content of a pickle: numbers, text, bytes, lists, tuples, sets, dictionaries and NumPy arrays of numbers.

    Args:
        path: path of the pickle file.
        parts: maximum number of values and instructions.

    Raises:
        OSError: it cannot be read.
        RefusedError: it asks for something else.
        OverBudgetError: it asks for too much.
        Exception: it is damaged; the classes are not bounded.
    """
    with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        # Equal bytes may be there once and be used twice; text of Python 2 is shorter than its numbers.
        budget = Budget(parts, 4 * len(content) + 16 * MIB)
        value = execute(content, names_of_arrays(budget), budget)
    require_small(value, Budget(parts))
    return Plain(array_of).of(value)


def array_of(value: Any) -> Any:
    """The array in place of its stand-in; other values as they are."""
    if isinstance(value, _Array):
        if value.value is None:
            raise RefusedError("an array without numbers")
        return value.value
    if isinstance(value, Name | _Type):
        raise RefusedError("it holds a function or a class")
    return value


class Plain:
    """Replaces stand-ins in a value that is no deeper than `require_small` allows; what is there twice stays one part.

    Args:
        single: function that replaces a part other than a container.
    """

    def __init__(self, single: Callable[[Any], Any]) -> None:
        self._single = single
        self._done: dict[int, Any] = {}

    def of(self, value: Any) -> Any:
        """The value with plain containers and parts."""
        if id(value) in self._done:
            return self._done[id(value)]
        converted: Any
        if isinstance(value, dict):
            converted = {self.of(key): self.of(each) for key, each in value.items()}
        elif isinstance(value, list):
            converted = [self.of(each) for each in value]
        elif isinstance(value, tuple | set | frozenset):
            converted = type(value)(self.of(each) for each in value)
        else:
            return self._single(value)
        self._done[id(value)] = converted
        return converted
