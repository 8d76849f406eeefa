"""Where parts of earlier versions went: recipes and checkpoints of those name them by their import paths then.

What moved within core is listed here. A plugin that takes over parts of core, or of another plugin, lists them as data
in its module: `MOVED_NAMES = {"det_core.testing": "det_devkit.conformance"}`; by modules, import paths, or qualified
names, which `plugins.registry` follows.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from det_core.plugins import catalog

__all__ = ["ARGUMENTS", "IMPLIED", "MODULES", "current"]

# Modules of core; arguments of components; and the types of nodes without one, where the argument asked for one class.
_EARLIER: dict[str, Any] = json.loads(Path(__file__).with_name("earlier.json").read_text("utf-8"))

MODULES: Mapping[str, str] = _EARLIER["modules"]
"""Module -> where its parts are now."""

ARGUMENTS: Mapping[str, Mapping[str, str]] = _EARLIER["arguments"]
"""Component -> argument -> where its value belongs now, by a dotted path from the same node."""

IMPLIED: Mapping[str, Mapping[str, str]] = _EARLIER["implied"]
"""Component -> argument -> the type of a node without `type` there."""


def current(path: str) -> str:
    """The import path of today of what `path`, "module:attribute", meant once; itself where it did not move."""
    module, _, attribute = path.partition(":")
    found = catalog()
    if target := found.moved(path):
        return target
    if module in MODULES:
        return f"{MODULES[module]}:{attribute}"
    return f"{found.moved(module) or module}:{attribute}"
