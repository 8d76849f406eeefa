"""The settings of a tree of calls."""

from collections.abc import Mapping
from typing import Any

from det_core.importers.settings import UnsupportedError, unsupported

__all__ = ["NEEDED", "Objects"]

NEEDED = object()
"""A class's argument that has no default."""

Table = Mapping[str, tuple[str, Any]]
"""Argument -> what it is called here or in YAML, and the default of the published class."""

_NORMS = {
    "BatchNorm2d": "BN",
    "SyncBatchNorm": "SyncBN",
    "NaiveSyncBatchNorm": "SyncBN",
    "FrozenBatchNorm2d": "FrozenBN",
    "BatchNormBatchStat": "BatchStatBN",
}


class Objects:
    """The settings of a tree of calls, which remember what was asked for."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = dict(given)
        self._read: set[str] = set()

    def __call__(self, path: str, default: Any = NEEDED) -> Any:
        """The value at `path`, else the default; without one, UnsupportedError."""
        self._read.add(path)
        value = self.given.get(path, default)
        if value is NEEDED:
            raise UnsupportedError(path, "is missing", "the class that it belongs to has no default for it")
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
        # A function's code is not recorded; those of the published configurations make synchronised batch norms.
        name = "SyncBN" if name == "<lambda>" else _NORMS.get(name, name)
        if name not in ("", "BN", "SyncBN", "FrozenBN", "BatchStatBN", "GN", "LN"):
            raise UnsupportedError(path, "is not supported yet", f"got {name!r}")
        return str(name)

    def renamed(self, path: str, table: Table) -> dict[str, Any]:
        """The arguments of the call at `path` under the names of the table."""
        return {name: self(f"{path}.{argument}", default) for argument, (name, default) in table.items()}

    def ignore(self, *paths: str) -> None:
        """Count what stands at or below these as asked for."""
        for path in paths:
            self._read.update(key for key in self.given if key == path or key.startswith(f"{path}."))

    def leftover(self) -> list[str]:
        """What was given and never asked for."""
        return sorted(self.given.keys() - self._read)
