"""What a recipe may call: a lock on the door, not a sandbox.

An import path in a recipe is code that runs. Python's own library and the parts of torch that read files or run
programs have no place there and are refused always. A module that is neither an installed plugin nor a harmless part of
torch is a stranger: fine in a recipe that somebody wrote for it, and refused in one that came inside a checkpoint.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from det_core.errors import ConfigError
from det_core.plugins import catalog, registry

__all__ = ["require_harmless", "strangers"]

# Modules whose callables build layers, optimizers and transforms, and do nothing else.
_HARMLESS = (
    *("torch.nn", "torch.nn.functional", "torch.nn.init", "torch.optim", "torch.optim.lr_scheduler"),
    *("torchvision.models", "torchvision.ops", "torchvision.transforms.v2"),
)
_LIBRARIES = frozenset({"torch", "torchvision", "numpy", "PIL", "yaml", "safetensors", "pip", "setuptools"})
# Core's own machinery for imports and files; what a recipe is made of lives elsewhere.
_MACHINERY = re.compile(r"det_core\.(cli|config|factory|plugins|recipes|registry|trust|yamlfile|importers)\b")
_IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def require_harmless(node: Any, path: str) -> None:
    """Raise ConfigError if a part of a recipe names something that no recipe may call."""
    for where, name in _import_paths(node, path):
        module = name.partition(":")[0]
        root = module.partition(".")[0]
        foreign = root in sys.stdlib_module_names or root in _LIBRARIES
        if (foreign and module not in _HARMLESS) or _MACHINERY.match(module):
            fix = "name a component, or a class of torch.nn, torch.optim or torchvision.transforms.v2"
            raise ConfigError(where, f"{name!r} is not something that a recipe may call", fix=fix)


def strangers(node: Any) -> tuple[str, ...]:
    """The import paths in a recipe outside the installed plugins and the harmless parts of torch, sorted."""
    installed = [plugin.module for plugin in catalog().plugins] + [c.target for c in registry.components()]
    homes = {re.split("[.:]", place)[0] for place in installed}
    called = {name for _, name in _import_paths(node, "")}
    return tuple(sorted(name for name in called if not _is_at_home(name.partition(":")[0], homes)))


def _is_at_home(module: str, homes: set[str]) -> bool:
    return module in _HARMLESS or (module.partition(".")[0] in homes and not _MACHINERY.match(module))


def _import_paths(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """(where, text) of everything that reads like an import path, whatever the place makes of it."""
    if isinstance(node, str) and _IMPORT_PATH.fullmatch(node):
        yield path, node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _import_paths(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _import_paths(value, f"{path}.{index}")
