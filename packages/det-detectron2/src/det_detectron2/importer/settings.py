"""Published settings over their defaults."""

import copy
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from det_core.errors import ConfigError
from det_core.plugins import known
from det_core.printable import quoted

from det_detectron2.importer.extensions import extensions, problems

__all__ = ["Settings", "UnsupportedError", "per_level", "unsupported"]

_NORMS = {"nnSyncBN": "SyncBN", "naiveSyncBN": "SyncBN"}


class UnsupportedError(ConfigError):
    """A published configuration needs a part without a counterpart here."""


class Settings:
    """Settings over Detectron2's defaults, with a record of those that were read."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        text = resources.files("det_detectron2.importer").joinpath("detectron2_defaults.json").read_text("utf-8")
        self.defaults: dict[str, Any] = {}
        for extension in extensions():
            self.defaults |= extension.defaults
        self.defaults |= json.loads(text)
        self.given = {key: _plain(value) for key, value in settings.items()}
        self._read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self._read.add(key)
        return self.peek(key)

    def require(self, key: str, *supported: Any) -> Any:
        """The value, which must be one of `supported`."""
        value = self[key]
        if value not in supported:
            raise unsupported(key, value, supported)
        return value

    def differing(self, table: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
        """The arguments of a table {setting: (argument, default)} whose values differ from the default."""
        return {argument: self[key] for key, (argument, default) in table.items() if self[key] != default}

    def replaced(self, key: str, value: Any) -> "Settings":
        """A copy with another value of one setting; reads of it count for both."""
        other = copy.copy(self)
        other.given = {**self.given, key: value}
        return other

    def norm(self, key: str) -> str:
        """Name of a norm layer here."""
        name = self[key]
        return str(_NORMS.get(name, name))

    def peek(self, key: str) -> Any:
        """The value, without marking it as read."""
        return self.given[key] if key in self.given else self.defaults[key]

    def read(self, *keys: str) -> None:
        """Mark these settings as read."""
        self._read.update(keys)

    def leftover(self) -> tuple[list[str], list[str]]:
        """The settings that were not read: those without a default, and those that differ from theirs."""
        rest = sorted(self.given.keys() - self._read)
        unknown = [key for key in rest if key not in self.defaults]
        return unknown, [key for key in rest if key in self.defaults and self.given[key] != self.defaults[key]]


def unsupported(where: str, value: Any, supported: Sequence[Any]) -> UnsupportedError:
    """The error of a part without a counterpart here, with the package that provides it, if known."""
    package = known.provider(value) if isinstance(value, str) else ""
    fix = f"pip install {package}" if package else f"supported: {' or '.join(repr(each) for each in supported)}"
    return UnsupportedError(where, "is not supported yet", "; ".join([f"got {quoted(value)}", *problems()]), fix)


def _plain(value: Any) -> Any:
    """A value with lists in place of tuples, as in recipes."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def per_level(values: list[Any]) -> list[Any]:
    """One list of numbers for all levels, nested in a list."""
    return values if values and isinstance(values[0], list) else [values]
