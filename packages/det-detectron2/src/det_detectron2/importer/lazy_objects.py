"""The settings of a tree of calls."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from det_core.printable import quoted

from det_detectron2.importer.literals import evaluate
from det_detectron2.importer.settings import UnsupportedError, unsupported

__all__ = ["NEEDED", "Objects"]

NEEDED = object()
"""A class's argument that has no default."""

Table = Mapping[str, tuple[str, Any]]
"""Argument -> its name here or in YAML, and the default of the published class."""

_PARTIAL = re.compile(r"functools\.partial\(<(?:class|function) '?(?P<name>[\w.]+)[^>]*>(?:, )?(?P<arguments>.*)\)")

_NORMS = {
    "BatchNorm2d": "BN",
    "SyncBatchNorm": "SyncBN",
    "SyncBatchNorm2d": "SyncBN",
    "NaiveSyncBatchNorm": "SyncBN",
    "FrozenBatchNorm2d": "FrozenBN",
    "BatchNormBatchStat": "BatchStatBN",
}


class Objects:
    """The settings of a tree of calls, with a record of those that were read."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.given = dict(settings)
        self._read: set[str] = set()

    def __call__(self, path: str, default: Any = NEEDED) -> Any:
        """The value at `path`, or the default; UnsupportedError without either."""
        self._read.add(path)
        value = self.given.get(path, default)
        if value is NEEDED:
            raise UnsupportedError(path, "is missing", "its class has no default for it")
        return value

    def has(self, path: str) -> bool:
        """Whether there is a call at `path`."""
        return f"{path}.kind" in self.given

    def require(self, path: str, *supported: Any, default: Any = None) -> Any:
        """The value, which must be one of `supported`."""
        value = self(path, default)
        if value not in supported:
            raise unsupported(path, value, supported)
        return value

    def norm(self, path: str, default: str = "") -> str:
        """A norm, given by its name or by its class."""
        name = self(path, default) or ""
        # The code of a function is not recorded; in published configurations they make synchronized batch norms.
        name = "SyncBN" if name == "<lambda>" else _NORMS.get(name, name)
        if name not in ("", "BN", "SyncBN", "FrozenBN", "BatchStatBN", "GN", "LN"):
            raise UnsupportedError(path, "is not supported yet", f"got {quoted(name)}")
        return str(name)

    def renamed(self, path: str, table: Table) -> dict[str, Any]:
        """The arguments of the call at `path` under the names of the table."""
        return {name: self(f"{path}.{argument}", default) for argument, (name, default) in table.items()}

    def ignore(self, *paths: str) -> None:
        """Mark everything at or below these paths as read."""
        for path in paths:
            self._read.update(key for key in self.given if key == path or key.startswith(f"{path}."))

    def count(self, path: str) -> int:
        """Number of calls in the list at `path`."""
        number = 0
        while self.has(f"{path}.{number}"):
            number += 1
        return number

    def differences(self, path: str, other: str, ignored: Sequence[str] = ()) -> list[str]:
        """Paths of differences between the calls at two paths."""
        one, two = (
            {key.removeprefix(f"{place}."): value for key, value in self.given.items() if key.startswith(f"{place}.")}
            for place in (path, other)
        )
        return sorted(key for key in one.keys() | two.keys() if one.get(key) != two.get(key) and key not in ignored)

    def partial(self, path: str) -> tuple[str, dict[str, Any]]:
        """A function or class with some of its arguments, given as `repr(functools.partial(...))`: its name and those.

        ("", {}) where there is none.
        """
        match = _PARTIAL.fullmatch(str(self(path, "")))
        if match is None:
            return "", {}
        where, arguments = path, [each.partition("=") for each in match["arguments"].split(", ") if each]
        return match["name"].rpartition(".")[2], {name: evaluate(value, where) for name, _, value in arguments}

    def leftover(self) -> list[str]:
        """The settings that were not read."""
        return sorted(self.given.keys() - self._read)
