"""Names of earlier versions: recipes and checkpoints name parts by their import paths at that time.

Moves within core are in `earlier.json`. A plugin that takes over parts of core or of another plugin lists them as data
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
    """The current import path of an earlier `path`, "module:attribute"; itself if it did not move."""
    module, _, attribute = path.partition(":")
    plugin_catalog = catalog()
    if target := plugin_catalog.moved(path):
        return target
    if module in MODULES:
        return f"{MODULES[module]}:{attribute}"
    return f"{plugin_catalog.moved(module) or module}:{attribute}"
