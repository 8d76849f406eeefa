"""Checks the header of a safetensors file before the library reads it: its length and its tensor descriptions."""

import json
import math
import os
import struct
from pathlib import Path

from det_safeload.budget import MIB, OverBudgetError
from det_safeload.printable import quoted
from det_safeload.regular import open_regular

__all__ = ["require_valid_head"]

_HEAD = 8 * MIB
_TENSORS = 50_000
_AXES, _LARGEST = 64, 2**62
# Types of whole bytes that torch supports.
_SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2}
_SIZES |= {"I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8, "C64": 8}


def require_valid_head(path: Path) -> None:
    """Raise unless the header is short, and each tensor of a known type lies within the file.

    Raises:
        OSError: the file cannot be read.
        OverBudgetError: the header is longer, or names more tensors, than weights need.
        ValueError: it is damaged, or no safetensors file.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        if len(start) < 8:
            raise ValueError("it is shorter than a head")
        (length,) = struct.unpack("<Q", start)
        if length > size - 8:
            raise ValueError("its head is longer than the file")
        if length > _HEAD:
            raise OverBudgetError(f"its head is larger than {_HEAD // MIB} MiB")
        text = file.read(length)
    try:
        head = json.loads(text)
    except RecursionError as error:
        raise OverBudgetError("its head is nested too deep") from error
    if not isinstance(head, dict):
        raise ValueError("its head is no object")
    about = head.pop("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(each, str) for each in about.values()):
        raise ValueError("its metadata are not a mapping of texts")
    if len(head) > _TENSORS:
        raise OverBudgetError(f"it names more than {_TENSORS} tensors")
    for name, tensor in head.items():
        _require_tensor(name, tensor, size - 8 - length)


def _require_tensor(name: str, tensor: object, room: int) -> None:
    if not isinstance(tensor, dict):
        raise ValueError(f"the tensor {quoted(name)} is not described")
    kind, shape, place = (tensor.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(kind, str) or kind not in _SIZES:
        raise ValueError(f"the tensor {quoted(name)} is of the type {quoted(kind)}, which is not read")
    numbers = (shape, place)
    sound = all(isinstance(each, list) and all(type(n) is int and 0 <= n < _LARGEST for n in each) for each in numbers)
    if not sound or not isinstance(shape, list) or not isinstance(place, list) or len(shape) > _AXES or len(place) != 2:
        raise ValueError(f"the tensor {quoted(name)} has an invalid shape or place")
    if place[1] > room or place[1] - place[0] != math.prod(shape) * _SIZES[kind]:
        raise ValueError(f"the tensor {quoted(name)} of shape {quoted(shape)} does not fit its place")
