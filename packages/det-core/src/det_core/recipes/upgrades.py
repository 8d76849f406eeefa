"""Recipes of earlier versions: arguments that have moved into parts, and modules that have moved.

`upgrade` rewrites a recipe once, where it is loaded; `--set` with an old path goes through `moved_keys`. Components are
identified by name, so nothing is imported. A plugin lists moved arguments of its components as data in its
module: `MOVED_ARGUMENTS = {"my_head": {"nms_threshold": "nms.iou_threshold"}}`.
"""

import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from det_core.errors import ConfigError, DetWarning
from det_core.plugins import catalog, registry
from det_core.recipes import moved

__all__ = ["component_of", "implied_below", "moved_keys", "upgrade"]

_IMPORT_PATH = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)")


def upgrade(tree: Mapping[str, Any], parent: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """The tree of a recipe in the form of this version; one that has it already comes back equal.

    Args:
        tree: plain data, not merged into its parent yet.
        parent: the tree that it will be laid over, in the form of this version; nodes without a `type` have its.

    Raises:
        ConfigError: an argument stands both where it was and where it belongs now, with different values.
    """
    return {key: _upgraded(value, parent.get(key), "", key) for key, value in tree.items()}


def component_of(node: Any, implied: str = "") -> str:
    """The qualified name of the target of a node; `implied` if no installed plugin offers it by name."""
    return (_component(node) if isinstance(node, Mapping) else "") or implied


def implied_below(component: str, key: str) -> str:
    """The type of a node without `type` at the argument `key` of a component, as far as known."""
    place = f"{component}.{key}"
    return moved.IMPLIED.get(component, {}).get(key, "") or (place if _moves(place) else "")


def moved_keys(node: Mapping[str, Any], component: str, keys: Sequence[str], path: str) -> list[str]:
    """The keys that lead from a node to where the first of `keys` belongs now; warns where that is another place."""
    place = _moves(component).get(keys[0]) if keys[0] not in node else None
    if place is None or (len(keys) > 1 and keys[0] == place.partition(".")[0]):
        return list(keys)
    warnings.warn(f"{path}.{keys[0]} is {path}.{place} now", DetWarning, stacklevel=2)
    return [*place.split("."), *keys[1:]]


def _upgraded(node: Any, parent: Any, implied: str, path: str) -> Any:
    if isinstance(node, str):
        return _path_now(node)
    if isinstance(node, list | tuple):
        return [_upgraded(value, None, "", f"{path}.{index}") for index, value in enumerate(node)]
    if not isinstance(node, Mapping):
        return node
    component = component_of(node, component_of(parent, implied))
    moves, above = _moves(component), parent if isinstance(parent, Mapping) else {}
    rest = {key: value for key, value in node.items() if key not in moves}
    result = {
        key: _upgraded(value, above.get(key), implied_below(component, str(key)), f"{path}.{key}")
        for key, value in rest.items()
    }
    for key, value in node.items():
        if key in moves:
            _put(result, moves[key].split("."), _upgraded(value, None, "", f"{path}.{key}"), f"{path}.{key}")
    return result


def _put(node: dict[str, Any], keys: Sequence[str], value: Any, path: str) -> None:
    *parts, last = keys
    for part in parts:
        below = node.get(part)
        node[part] = node = dict(below) if isinstance(below, Mapping) else {}
    if last in node and node[last] != value:
        place = ".".join(keys)
        raise ConfigError(
            path, f"is {place} now, which stands there too", f"{value!r} and {node[last]!r}", "remove one"
        )
    node[last] = value


def _component(node: Mapping[str, Any]) -> str:
    """The qualified name of the target of a node; "" if no installed plugin offers it."""
    name = node.get("type")
    if not isinstance(name, str):
        return ""
    for component in _offered(name):
        return component.qualified
    return ""


def _offered(name: str) -> Iterator[registry.Component]:
    path = _IMPORT_PATH.fullmatch(_path_now(name))
    if path is None:
        yield from registry.matches(registry.components(), name)
        return
    for component in registry.components():
        module, _, attribute = component.target.partition(":")
        # A package may offer a class at a shorter path than that of the module it stands in.
        if attribute == path[2] and module.split(".")[0] == path[1].split(".")[0]:
            yield component


def _path_now(text: str) -> str:
    return moved.current(text) if _IMPORT_PATH.fullmatch(text) else text


def _moves(component: str) -> Mapping[str, str]:
    """Moved arguments of a component, as core or its plugin lists them."""
    if component in moved.ARGUMENTS:
        return moved.ARGUMENTS[component]
    distribution, _, name = component.partition("/")
    for plugin in catalog().plugins:
        if plugin.distribution == distribution and plugin.module in sys.modules:
            table: Mapping[str, Mapping[str, str]] = getattr(sys.modules[plugin.module], "MOVED_ARGUMENTS", {})
            if name in table:
                return table[name]
    return {}
