"""Checks that a `.pt2` file is a plain program, before torch.export.load could run code from it.

`torch.export.load` evaluates expressions of sizes as Python, calls any function of torch that a node names, and
unpickles tensors that a file marks as pickled. So files are read as JSON first, and hold nothing but operators on
tensors, arithmetic of sizes, and tensors as raw bytes.
"""

import ast
import io
import json
import math
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import torch
from det_core.errors import CheckpointError

__all__ = ["LARGEST", "require_plain"]

LARGEST = 2**28
"""Maximum number of elements of a tensor that an operator makes from constants."""

_LONGEST = 512 * 2**20  # bytes of JSON
_LONG = 200_000  # characters of an expression
_POWERS = 8
_FIX = "export the model again"
_TARGETS = re.compile(
    r"torch\.ops\.(aten|prims|torchvision|quantized_decomposed|torchao|pt2e_quant)\.[A-Za-z0-9_]+\.[A-Za-z0-9_]+"
    r"|torch\.ops\.higher_order\.(while_loop|cond|wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|_operator\.[a-z]+_?|math\.[a-z0-9]+"
    r"|torch\.sym_(max|min|ite|float|int|not|sqrt|sum|fresh_size)|torch\._sym_[a-z0-9]+"
)
_REFUSED = re.compile(r"torch\.ops\.aten\.(from_file|_foobar|set_|resize_).*")
_CALLS = frozenset(
    [
        "FloorDiv", "ModularIndexing", "Where", "PythonMod", "Mod", "CleanDiv", "CeilToInt", "FloorToInt", "CeilDiv",
        "FloatTrueDiv", "IntTrueDiv", "Max", "Min", "TruncToInt",
        "TruncToFloat", "RoundToInt", "RoundDecimal", "ToFloat", "Identity", "Abs", "Integer", "Float", "Eq", "Ne",
        "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "floor", "ceiling", "sqrt", "abs", "max", "min", "int",
        "float", "OpaqueUnaryFn_sqrt", "OpaqueUnaryFn_log2", "Symbol", "Add", "Mul", "Rational", "LessThan",
        "GreaterThan", "StrictLessThan", "StrictGreaterThan", "Equality", "Unequality",
    ]
)  # fmt: skip
_ATTRIBUTES = frozenset(
    [
        "size", "stride", "storage_offset", "item", "sym_max", "sym_min", "sym_ite", "sym_float", "sym_int",
        "sym_not", "sqrt",
    ]
)  # fmt: skip
_CALLED = frozenset((*_ATTRIBUTES, "_sym_sqrt"))
_NODES = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Constant, ast.Name, ast.Load, ast.Subscript),
    *(ast.Call, ast.keyword, ast.Attribute, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.IfExp),
)


def require_plain(archive: zipfile.ZipFile, where: str) -> None:
    """Raise CheckpointError where a file holds more than a plain program.

    Args:
        archive: archive opened for reading, with entries no longer than the file.
        where: name of the file in error messages.
    """
    names = [entry.filename for entry in archive.infolist()]
    if len(set(names)) != len(names):
        raise CheckpointError(where, "holds several entries of one name", fix=_FIX)
    for entry in archive.infolist():
        name = entry.filename.rpartition("/")[2]
        if name.endswith("_config.json"):
            _require_raw(_json(archive, entry, where), where)
        elif name.endswith(".json"):
            _require_program(_json(archive, entry, where), where)
        elif name.endswith(".pt"):
            _require_tensors(archive.read(entry), where)


def _json(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, where: str) -> Any:
    if entry.file_size > _LONGEST:
        raise CheckpointError(where, "describes itself at too great a length", f"{entry.file_size} bytes", _FIX)
    try:
        return json.loads(archive.read(entry))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(where, "is damaged", f"{entry.filename!r:.80}: {str(error)[:80]}", _FIX) from error


def _require_raw(config: Any, where: str) -> None:
    """No tensor that is pickled."""
    for key, value in _pairs(config):
        if key == "use_pickle" and value is not False:
            raise CheckpointError(where, "holds pickled tensors, which may run code", fix=_FIX)


def _require_tensors(data: bytes, where: str) -> None:
    """Tensors that are read without running code; what is empty holds none."""
    if not data:
        return
    try:
        torch.load(io.BytesIO(data), map_location="meta", weights_only=True)
    except Exception as error:  # the errors of the reader on hostile bytes have no common type
        found = f"{type(error).__name__}: {str(error)[:80]}"
        raise CheckpointError(where, "holds pickles that may run code", found, _FIX) from error


def _require_program(program: Any, where: str) -> None:
    guards = program.get("guards_code") if isinstance(program, dict) else None
    ranges = program.get("range_constraints") if isinstance(program, dict) else None
    for text in (*(guards or ()), *(ranges or ())):
        _require_arithmetic(text, where)
    for key, value in _pairs(program):
        if key == "expr_str":
            _require_arithmetic(value, where)
        elif key == "target" and isinstance(value, str):
            if not _TARGETS.fullmatch(value) or _REFUSED.fullmatch(value):
                raise CheckpointError(where, "calls a function that is not a tensor operator", f"{value!r:.80}", _FIX)
        elif key == "as_ints" and isinstance(value, list) and all(type(each) is int for each in value):
            count = math.prod(max(abs(each), 1) for each in value)
            if count > LARGEST:
                raise CheckpointError(where, "makes tensors larger than any model's", f"{count:.3g} elements", _FIX)


def _pairs(tree: Any) -> Iterator[tuple[str, Any]]:
    """Every key of a tree of JSON, with its value."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield from node.items()
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _require_arithmetic(text: Any, where: str) -> None:
    """An expression of sizes: numbers, symbols, comparisons, and calls of arithmetic functions alone."""
    try:
        if not isinstance(text, str) or len(text) > _LONG:
            raise ValueError("too long, or no text")
        nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
        if sum(isinstance(node, ast.Pow) or getattr(node, "id", "") == "Pow" for node in nodes) > _POWERS:
            raise ValueError("powers of powers")
        for node in nodes:
            _require_harmless(node)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CheckpointError(where, "computes sizes by more than arithmetic", f"{text!r:.80}", _FIX) from error


def _require_harmless(node: ast.AST) -> None:
    if not isinstance(node, _NODES):
        raise ValueError(type(node).__name__)
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.LShift) or any(_is_text(each) for each in (node.left, node.right)):
            raise ValueError("a size is no text, and not shifted")
        if isinstance(node.op, ast.Pow) and _integer(node.right) not in range(5):
            raise ValueError("a large power")
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) > 2**96:
        raise ValueError("a large number")
    if isinstance(node, ast.Name) and "__" in node.id:
        raise ValueError(node.id)
    if isinstance(node, ast.Attribute) and node.attr not in _CALLED:
        raise ValueError(node.attr)
    if isinstance(node, ast.Call):
        function = node.func
        good = isinstance(function, ast.Name) and function.id in _CALLS
        if isinstance(function, ast.Name) and function.id == "Pow":
            good = len(node.args) == 2 and _integer(node.args[1]) in range(5)
        if not (good or (isinstance(function, ast.Attribute) and function.attr in _CALLED)):
            raise ValueError("a call")


def _integer(node: ast.AST) -> Any:
    """The value of `3` or `Integer(3)`; None of others."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Integer" and len(node.args) == 1:
        node = node.args[0]
    return getattr(node, "value", None)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
