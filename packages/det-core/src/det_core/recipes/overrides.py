"""How a recipe is changed: merged into its parent, or by `--set a.b.c=value`."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args, get_origin

from det_core.errors import ConfigError, RecipeError
from det_core.plugins import registry
from det_core.recipes import yaml as yamlfile
from det_core.recipes.allow_list import DEFAULT, AllowList, untrusted
from det_core.recipes.check import arguments_of
from det_core.recipes.construct import class_of
from det_core.recipes.defaults import called, default_data, over_default
from det_core.recipes.nodes import NoDataError, lookup
from det_core.recipes.signatures import format_value, unwrapped
from det_core.recipes.upgrades import component_of, implied_below, moved_keys, upgrade

__all__ = ["DEFAULT_TYPES", "KEYS", "SECTIONS", "annotation_of", "apply", "merge", "not_a_key"]

SECTIONS = ("model", "weights", "data", "train")
KEYS = ("extends", "summary", *SECTIONS, "versions")

# Type of a section without `type`, as text: these need torch.
DEFAULT_TYPES: Mapping[str, str] = {
    "weights": "det_core.weights:InitialWeights",
    "data": "det_core.data:Data",
    "train": "det_core.engine:Train",
}
_INSTEAD = {"steps": "epochs", "epochs": "steps"}  # of a training: either replaces the other of a parent
_MODEL = "det_core.contracts:Model"


def annotation_of(section: str, node: Any) -> Any:
    """The annotation of a section: Model, or the class of the section unless the node names another."""
    if section == "model":
        return registry.import_target(_MODEL, section)
    return (
        Any if isinstance(node, Mapping) and "type" in node else registry.import_target(DEFAULT_TYPES[section], section)
    )


def not_a_key(name: str, where: str) -> ConfigError:
    """The error of a key that no recipe has at its root."""
    fix = registry.did_you_mean(name, KEYS) or f"a recipe has {', '.join(KEYS)}"
    return RecipeError(where, f"{name!r} is not a key of a recipe", fix=fix)


def merge(parent: Any, child: Any, implied: str = "") -> Any:
    """`child` over `parent`: mappings key by key, unless the `type` changes; anything else is replaced.

    Args:
        parent: tree to be changed; not modified.
        child: recipe data with the changes to `parent`.
        implied: the `type` of a parent that has none.
    """
    if not (isinstance(parent, Mapping) and isinstance(child, Mapping)):
        return copy.deepcopy(child)
    before, after = parent.get("type", implied), child.get("type", implied)
    changed = "type" in child and not (
        isinstance(before, str) and isinstance(after, str) and registry.same(before, after)
    )
    if changed:
        return copy.deepcopy(child)
    others = (key for key in parent if key not in child and _INSTEAD.get(key) not in child)
    return {key: copy.deepcopy(parent[key]) for key in others} | {
        key: merge(parent.get(key), value) for key, value in child.items()
    }


def apply(
    tree: Mapping[str, Any],
    overrides: Sequence[str],
    trusted: bool = True,
    annotations: Callable[[str, Any], Any] = annotation_of,
    allow: AllowList | None = None,
) -> dict[str, Any]:
    """The tree, in the form of this version, with each "a.b.c=value" set, in order; values are read as YAML.

    A path leads to a key of the tree, to an argument of the constructor of a node, or by number to an item
    of a list. A mapping is merged as a child recipe would be. Unless `trusted`, the nodes on the path must be
    something that an untrusted recipe may name: `allow`, where it is given. `annotations` are those of the sections.

    Raises:
        ConfigError: the override is malformed, or nothing is where it leads.
    """
    result = upgrade(tree)
    for override in overrides:
        path, equals, text = override.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(f"--set {override!r}", "is not an override", fix="one reads 'train.steps=100'")
        value = yamlfile.parse(text, f"--set {override!r}")
        section, *rest = keys
        if section in ("extends", "versions"):
            raise ConfigError(f"--set {override!r}", f"{section!r} cannot be set", fix="write a recipe of your own")
        if section not in KEYS:
            raise not_a_key(section, f"--set {override!r}")
        if not rest:
            result[section] = merge(result.get(section), value, DEFAULT_TYPES.get(section, ""))
        elif section == "summary":
            raise ConfigError(path, "is text, which has no parts")
        else:
            node = result.get(section)
            node = {} if node is None else node
            setter = _Setter(allow or (DEFAULT if trusted else untrusted(section)))
            result[section] = setter.set(node, partial(annotations, section, node), rest, value, section)
    return result


@dataclass(frozen=True)
class _Setter:
    """Sets values in one section.

    Args:
        allow: allow list of the nodes on the path.
    """

    allow: AllowList

    def set(
        self,
        node: Any,
        annotation: Callable[[], Any],
        keys: Sequence[str],
        value: Any,
        path: str,
        implied: str = "",
    ) -> Any:
        """`node` with `value` where `keys` lead; `annotation` is asked only where the tree does not determine it."""
        component = component_of(node, implied)
        if isinstance(node, Mapping):
            keys = moved_keys(node, component, keys, path)
        key, rest, here = keys[0], keys[1:], f"{path}.{keys[0]}"
        if isinstance(node, list):
            if not (key.isdecimal() and int(key) < len(node)):
                fix = f"its items are 0 to {len(node) - 1}" if node else ""
                raise ConfigError(here, "is no item of the list", fix=fix)
            new = self.set(node[int(key)], lambda: _item(annotation()), rest, value, here) if rest else value
            return [new if index == int(key) else item for index, item in enumerate(node)]
        if not isinstance(node, Mapping):
            raise ConfigError(path, f"has no parts, so nothing is called {key!r} there", f"it is {format_value(node)}")
        if not rest:
            if key not in node and key != "type":
                self._argument(node, annotation, key, path)
            return merge(node, {key: value})
        child = self._start(node, annotation, key, path) if node.get(key) is None else node[key]
        if isinstance(child, Mapping) and "type" not in child and ("type" in node or class_of(called(annotation()))):
            child = over_default(child, self._argument(node, annotation, key, path))
        below = implied_below(component, key)
        deeper = self.set(child, lambda: self._below(node, annotation(), key, path), rest, value, here, below)
        return {**node, key: deeper}

    def _argument(self, node: Mapping[str, Any], annotation: Callable[[], Any], key: str, path: str) -> Any:
        """The argument `key` of the target of a node; ConfigError if there is none."""
        expected = called(annotation())
        if "type" not in node and class_of(expected) is None:
            fix = registry.did_you_mean(key, node) or (f"there is {', '.join(node)}" if node else "")
            raise ConfigError(f"{path}.{key}", f"there is no {key!r} here", fix=fix)
        target, signature = arguments_of(node, expected, path, self.allow)
        return lookup(key, signature, target, path)

    def _start(self, node: Mapping[str, Any], annotation: Callable[[], Any], key: str, path: str) -> Any:
        """The default of an argument that the tree lacks, to be changed."""
        argument = self._argument(node, annotation, key, path)
        try:
            data = None if argument.required else default_data(argument, calls=True)
        except NoDataError:
            data = None
        if data is None and class_of(called(argument.annotation)) is not None:
            return {}
        if data is None:
            raise ConfigError(f"{path}.{key}", "is not set, so it has no parts", fix=f"set {path}.{key} itself first")
        return data

    def _below(self, node: Mapping[str, Any], annotation: Any, key: str, path: str) -> Any:
        """The annotation of `key` in `node`."""
        origin = get_origin(unwrapped(called(annotation)))
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return _item(annotation)
        return self._argument(node, lambda: annotation, key, path).annotation


def _item(annotation: Any) -> Any:
    """The annotation of the items of a list, or of the values of a mapping."""
    arguments = get_args(unwrapped(called(annotation)))
    return next((each for each in reversed(arguments) if each is not Ellipsis), Any)
