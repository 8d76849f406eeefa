"""Evaluates constants and arithmetic from their syntax and within limits; no function of the file is called."""

import ast
import copy
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from det_core.errors import ConfigError
from det_core.printable import quoted

__all__ = ["MAX_VALUES", "Evaluator", "evaluate"]

MAX_VALUES = 10_000
_MAX_NUMBER = 10**18
_MAX_EXPONENT = 64

_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "range": range,
    "list": list,
    "zip": lambda *lists: list(zip(*lists, strict=False)),
    "int": int,
}


def evaluate(text: str, where: str) -> Any:
    """The value of a Python expression of constants, lists, arithmetic, comprehensions and functions such as `range`.

    Raises:
        ConfigError: it is anything else, or too large.
    """
    try:
        tree = ast.parse(text.strip()[:MAX_VALUES], mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(where, "is no expression that can be read", f"got {quoted(text, 60)}") from error
    return Evaluator(where).value(tree.body, {})


class Evaluator:
    """Evaluates expressions; subclasses may support more kinds. `where` names the file in messages."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._left = MAX_VALUES

    def value(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        """The value of an expression with these names.

        Raises:
            ConfigError: it contains something unsupported, or exceeds a limit.
        """
        self.spend(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | None):
            return node.value
        if isinstance(node, ast.Name) and node.id in names:
            return names[node.id]
        if isinstance(node, ast.List | ast.Tuple):
            return [self.value(item, names) for item in node.elts]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            value = self._number(node.operand, names)
            return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return self.arithmetic(node, self.value(node.left, names), node.op, self.value(node.right, names))
        if isinstance(node, ast.ListComp):
            return [self.value(node.elt, scope) for scope in self._rounds(node, node.generators, names)]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS.keys() - names:
            return self._called(node, node.func.id, names)
        return self.other(node, names)

    def other(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        """The value of an expression other than constants and arithmetic; refused here."""
        raise self.refusal(node)

    def items(self, node: ast.expr, names: Mapping[str, Any]) -> list[Any]:
        """The values that a loop iterates over."""
        items = self.value(node, names)
        if not isinstance(items, list):
            raise self.refusal(node)
        return items

    def unpacked(self, target: ast.expr, value: Any) -> Iterator[tuple[ast.expr, Any]]:
        """Each target of `a, b = value` with its part of the value; a single target has the whole."""
        if not isinstance(target, ast.Tuple | ast.List):
            yield target, value
            return
        if not isinstance(value, list) or len(value) != len(target.elts):
            raise self.refusal(target, f"has {len(target.elts)} names for another number of values")
        for each, part in zip(target.elts, value, strict=True):
            yield from self.unpacked(each, part)

    def arithmetic(self, node: ast.AST, left: Any, how: ast.operator, right: Any) -> Any:
        """The result of an operator on two values: numbers, or lists to be concatenated or repeated."""
        if isinstance(left, list) and isinstance(how, ast.Mult) and type(right) is int:
            self.spend(node, max(right, 0) * self._size(left))
            return [copy.deepcopy(each) for _ in range(right) for each in left]
        joined = isinstance(left, list) and isinstance(right, list) and isinstance(how, ast.Add)
        if type(how) not in _OPERATORS or not (joined or (_is_number(left) and _is_number(right))):
            raise self.refusal(node)
        if isinstance(how, ast.Pow) and (abs(right) > _MAX_EXPONENT or abs(left) > _MAX_NUMBER):
            raise self.refusal(node, "is too large a number")
        try:
            result = _OPERATORS[type(how)](left, right)
        except (ArithmeticError, ValueError) as error:
            raise self.refusal(node, str(error)) from error
        if joined and len(result) > MAX_VALUES:
            raise self.refusal(node, f"stands for more than {MAX_VALUES} values")
        if not joined and not (_is_number(result) and abs(result) <= _MAX_NUMBER):
            raise self.refusal(node, "is too large a number")
        return result

    def spend(self, node: ast.AST, count: int = 1) -> None:
        """Count created values; ConfigError if they are too many."""
        self._left -= count
        if self._left < 0:
            raise self.refusal(node, f"stands for more than {MAX_VALUES} values")

    def _size(self, value: Any) -> int:
        """Number of values in a list, up to one more than allowed; repeated ones count repeatedly."""
        size, below = 0, [value]
        while below and size <= MAX_VALUES:
            part = below.pop()
            size += 1
            below += list(part.values()) if isinstance(part, dict) else part if isinstance(part, list) else []
        return size

    def refusal(self, node: ast.AST, problem: str = "") -> ConfigError:
        """The error of a piece of syntax, with its line."""
        line = f"{self.where}, line {getattr(node, 'lineno', '?')}"
        source = ast.unparse(node) if not isinstance(node, ast.Module) else ""
        kind = f"{type(node).__name__} is not read; only plain trees of calls and constants are"
        return ConfigError(line, problem or kind, f"got {source:.80}")

    def _number(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        value = self.value(node, names)
        if not _is_number(value):
            raise self.refusal(node)
        return value

    def _called(self, node: ast.Call, name: str, names: Mapping[str, Any]) -> Any:
        """The result of one of the supported functions, which make lists and integers."""
        arguments = [self.value(each, names) for each in node.args]
        kind = int if name == "range" else int | float if name == "int" else list
        if not arguments or node.keywords or not all(isinstance(each, kind) for each in arguments):
            raise self.refusal(node)
        try:
            result = _FUNCTIONS[name](*arguments)
            self.spend(node, 1 if name == "int" else len(result))
        except (TypeError, ValueError, OverflowError) as error:
            if isinstance(error, ConfigError):
                raise
            raise self.refusal(node, str(error)) from error
        return result if name == "int" else [list(each) if isinstance(each, tuple) else each for each in result]

    def _rounds(
        self, node: ast.expr, generators: list[ast.comprehension], names: Mapping[str, Any]
    ) -> Iterator[Mapping[str, Any]]:
        """The names defined in each iteration of a comprehension."""
        if not generators:
            yield names
            return
        first, *rest = generators
        if first.ifs or first.is_async:
            raise self.refusal(node)
        for item in self.items(first.iter, names):
            scope = dict(names)
            for target, value in self.unpacked(first.target, item):
                if not isinstance(target, ast.Name):
                    raise self.refusal(node)
                scope[target.id] = value
            yield from self._rounds(node, rest, scope)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
