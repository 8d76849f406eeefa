"""Constants and arithmetic on them, computed from their syntax and within bounds; nothing is called."""

import ast
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


def evaluate(text: str, where: str) -> Any:
    """The value of a Python expression of constants, lists, tuples, arithmetic and comprehensions over lists.

    Raises:
        ConfigError: it is anything else, or too large.
    """
    try:
        tree = ast.parse(text.strip()[:MAX_VALUES], mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(where, "is no expression that can be read", f"got {quoted(text, 60)}") from error
    return Evaluator(where).value(tree.body, {})


class Evaluator:
    """Computes expressions; a subclass may know more kinds of them. `where` is what messages call their file."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._budget: Iterator[int] = iter(range(MAX_VALUES))

    def value(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        """The value of an expression in which these names are known.

        Raises:
            ConfigError: it holds something that is not read, or more than it may.
        """
        if next(self._budget, None) is None:
            raise self.refusal(node, f"stands for more than {MAX_VALUES} values")
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
            return list(self._comprehended(node, node.generators, names))
        return self.other(node, names)

    def other(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        """The value of what is neither a constant nor arithmetic; here it is refused."""
        raise self.refusal(node)

    def arithmetic(self, node: ast.AST, left: Any, how: ast.operator, right: Any) -> Any:
        """What an operator makes of two values, which must be numbers, or lists to be joined."""
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

    def refusal(self, node: ast.AST, problem: str = "") -> ConfigError:
        """The error of a piece of syntax, with its line."""
        line = f"{self.where}, line {getattr(node, 'lineno', '?')}"
        found = ast.unparse(node) if not isinstance(node, ast.Module) else ""
        kind = f"{type(node).__name__} is not read; only plain trees of calls and constants are"
        return ConfigError(line, problem or kind, f"got {found:.80}")

    def _number(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        value = self.value(node, names)
        if not _is_number(value):
            raise self.refusal(node)
        return value

    def _comprehended(
        self, node: ast.ListComp, generators: list[ast.comprehension], names: Mapping[str, Any]
    ) -> Iterator[Any]:
        if not generators:
            yield self.value(node.elt, names)
            return
        first, *rest = generators
        if not isinstance(first.target, ast.Name) or first.ifs or first.is_async:
            raise self.refusal(node)
        items = self.value(first.iter, names)
        if not isinstance(items, list):
            raise self.refusal(first.iter)
        for item in items:
            yield from self._comprehended(node, rest, {**names, first.target.id: item})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
