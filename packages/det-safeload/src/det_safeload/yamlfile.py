"""Reads and writes YAML of plain data; each fault is reported with its line.

A subset of YAML 1.2: `1e-4` is a number, `yes`, `no`, `on` and `off` are text, dates are text; tags, merge keys and
repeated keys are refused. Aliases are allowed as long as their expansion is small.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from det_safeload.budget import Budget, OverBudgetError
from det_safeload.content import ContentError
from det_safeload.printable import quoted
from det_safeload.regular import open_regular

__all__ = ["Tags", "dump", "parse", "read", "texts"]

MAX_BYTES = 1_000_000
MAX_NODES = 100_000
MAX_DEPTH = 50
MAX_TOKENS = 100_000
MAX_DIGITS = 300  # of a whole number; a fractional number has none beyond these anyway

_STANDARD = "tag:yaml.org,2002:"
_RULES: list[tuple[str, str, str]] = [
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
]


class _Counted(yaml.BaseLoader):
    """Makes texts, lists and mappings.

    The parser is written in Python, and takes half a minute for a megabyte of small values: tokens are counted, and so
    are levels, each of which every further token passes through.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.budget = Budget(MAX_TOKENS, depth=MAX_DEPTH)

    def fetch_more_tokens(self) -> Any:
        """Count what is read."""
        self.budget.spend_parts()
        self.budget.require_depth(self.flow_level + len(self.indents))
        return super().fetch_more_tokens()


class _Loader(_Counted, yaml.SafeLoader):
    """Composes nodes; only `_plain` makes values of them."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}


class _Dumper(yaml.SafeDumper):
    """Writes block style, short lists in one line, and quotes whatever YAML 1.1 or 1.2 would not read as text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern, _first in _RULES:
    for _class in (_Loader, _Dumper):
        firsts = ["" if letter == "\0" else letter for letter in _first]
        _class.add_implicit_resolver(_STANDARD + _tag, re.compile(f"(?:{_pattern})$"), firsts)


def _list_in_one_line(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    flat = not any(isinstance(item, list | dict) for item in items)
    return dumper.represent_sequence(_STANDARD + "seq", items, flow_style=flat)


_Dumper.add_representer(list, _list_in_one_line)


Tags = Mapping[str, Callable[[Any, str], Any]]
"""Constructors of the values of further tags: (value, its place for errors) -> result."""


def read(path: Path, tags: Tags = MappingProxyType({})) -> Any:
    """The content of a file; ContentError if it cannot be read, is not text or is not YAML of this kind."""
    where = str(path)
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ContentError(where, f"is larger than {MAX_BYTES // 1_000_000} MB, which is too much")
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise ContentError(where, "there is no such file") from None
    except IsADirectoryError:
        raise ContentError(where, "is a folder, not a file") from None
    except UnicodeDecodeError:
        raise ContentError(where, "is not a text file") from None
    except (OSError, ValueError) as error:
        raise ContentError(where, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return parse(text, where, tags)


def parse(text: str, where: str, tags: Tags = MappingProxyType({})) -> Any:
    """The value of a YAML text; `where` is its name in errors."""
    try:
        node = yaml.compose(text, _Loader)
        return None if node is None else _plain(node, where, iter(range(MAX_NODES)), 0, tags)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}" if mark else "somewhere"
        raise ContentError(where, f"is not YAML: {line}: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        raise ContentError(where, f"is not a text file: it holds the character #x{error.character:04x}") from None
    except RecursionError:
        raise ContentError(where, f"is nested deeper than {MAX_DEPTH} levels") from None
    except OverBudgetError as error:
        fix = "write fewer levels" if "deeper" in str(error) else "write a smaller file"
        raise ContentError(where, "asks for too much", str(error), fix) from None


def texts(text: str) -> Any:
    """A YAML text as texts, lists and mappings.

    Raises:
        ValueError: the text is over the budget.
        yaml.YAMLError: it is not YAML.
    """
    return yaml.load(text, Loader=_Counted)


def _plain(node: yaml.Node, where: str, budget: Iterator[int], depth: int, tags: Tags) -> Any:
    """A node as plain data. Aliases are expanded here, so what they stand for is counted each time."""
    line = f"{where}, line {node.start_mark.line + 1}"
    if depth > MAX_DEPTH:
        raise ContentError(line, f"is nested deeper than {MAX_DEPTH} levels", fix="does an alias contain itself?")
    if next(budget, None) is None:
        raise ContentError(where, f"its aliases stand for more than {MAX_NODES} values", fix="write a smaller file")
    kind = node.tag.removeprefix(_STANDARD)
    if isinstance(node, yaml.MappingNode) and kind == "map":
        return _mapping(node, where, budget, depth, tags)
    if isinstance(node, yaml.SequenceNode) and (kind == "seq" or kind in tags):
        items = [_plain(item, where, budget, depth + 1, tags) for item in node.value]
        return items if kind == "seq" else tags[kind](items, line)
    if isinstance(node, yaml.ScalarNode) and kind in _SCALARS:
        try:
            return _SCALARS[kind](node.value)
        except ValueError as error:
            raise ContentError(line, f"{quoted(node.value, 60)} cannot be read", str(error)) from None
    raise ContentError(line, f"the tag {quoted(node.tag)} is not supported", fix="remove it")


def _mapping(node: yaml.MappingNode, where: str, budget: Iterator[int], depth: int, tags: Tags) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = f"{where}, line {key_node.start_mark.line + 1}"
        key = _plain(key_node, where, budget, depth + 1, tags)
        if not isinstance(key, str):
            raise ContentError(line, "a key must be text", f"got {quoted(key, 60)}", "put it in quotes")
        if key == "<<":
            raise ContentError(line, "merge keys ('<<') are not supported", fix="write the keys out")
        if key in result:
            raise ContentError(line, f"the key {quoted(key)} stands twice", fix="remove one of them")
        result[key] = _plain(value_node, where, budget, depth + 1, tags)
    return result


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"it has more than {MAX_DIGITS} digits")
    return int(text, 16) if text.startswith("0x") else int(text.replace("_", ""))


def _number(text: str) -> float:
    text = text.lower().replace("_", "")
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: dict[str, Any] = {
    "null": lambda text: None,
    "bool": lambda text: text.lower() == "true",
    "int": _integer,
    "float": _number,
    "str": str,
}


def dump(data: Any) -> str:
    """Plain data as YAML that `parse` reads back as the same."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
