"""Recipes: constructor calls of a model, its weights, its data and its training, as data.

A recipe is named (`faster_rcnn_r50_fpn_1x`, `det-core/faster_rcnn_r50_fpn_1x`, the published
`COCO-Detection/faster_rcnn_R_50_FPN_1x`) or is a file. `extends` names one parent, over which it is laid; a changed
`type` replaces its node, and lists are replaced.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from det_safeload.regular import exists

from det_core.errors import ConfigError, DetError, PluginError, RecipeError, UnknownNameError
from det_core.plugins import registry, versions
from det_core.printable import described
from det_core.recipes import check as config
from det_core.recipes import yaml as yamlfile
from det_core.recipes.allow_list import DEFAULT, untrusted
from det_core.recipes.building import built_within_budget
from det_core.recipes.overrides import DEFAULT_TYPES, KEYS, SECTIONS, annotation_of, apply, merge, not_a_key
from det_core.recipes.signatures import format_value
from det_core.recipes.upgrades import upgrade

__all__ = ["Listed", "Recipe", "listing", "load", "names", "recipe_from_tree"]


@dataclass(frozen=True)
class Recipe:
    """A whole recipe, its parents merged in. Two recipes with one tree are equal.

    Attributes:
        tree: plain data with the keys `summary`, `model`, `weights`, `data`, `train`, `versions`, where it has them.
        source: the name or the file it came from.
        trusted: whether it may name code of the user, and all of installed packages; a recipe that came inside
            a file, such as a checkpoint, may not.
    """

    tree: Mapping[str, Any]
    source: str = field(default="a recipe", compare=False)
    trusted: bool = field(default=True, compare=False)

    @property
    def summary(self) -> str:
        """The summary of the recipe, a line."""
        return str(self.tree.get("summary") or "")

    def check(self) -> "Recipe":
        """Check every section against its constructors; imports them, builds nothing, and returns the recipe.

        Raises:
            DetError: the first fault found, with the path to it.
        """
        for section in SECTIONS:
            if section in self.tree:
                self._plan(section)
        return self

    def build(self, section: str) -> Any:
        """Build a section: "model", "weights" (None without any), "data" or "train".

        Raises:
            DetError: the section does not fit its constructors, or one raises.
        """
        if section not in SECTIONS:
            raise ConfigError(section, "is no section of a recipe", fix=f"there is {', '.join(SECTIONS)}")
        plan = self._plan(section)
        if plan is None:
            return None
        return built_within_budget(plan.build) if section == "model" else plan.build()

    def build_model(self) -> Any:
        """The model, initialised at random, also under `torch.device("meta")`; no file is read."""
        return self.build("model")

    def build_part(self, path: str, annotation: Any) -> Any:
        """Build one entry of a section, "data.eval_transforms"; the rest of the section need not fit.

        Args:
            path: the section and the key; an entry that is not there is an empty list.
            annotation: annotation that the built entry must fit.
        """
        section, key = path.split(".")
        node = (self.tree.get(section) or {}).get(key, [])
        return config.check(node, annotation, path, DEFAULT if self.trusted else untrusted(path)).build()

    def resolved(self) -> "Recipe":
        """The recipe with qualified names, all values, and the versions of the distributions used."""
        tree: dict[str, Any] = {"summary": self.summary} if self.summary else {}
        for section in SECTIONS:
            if section in self.tree:
                plan = self._plan(section)
                tree[section] = None if plan is None else plan.resolved()
        tree["versions"] = versions.versions_of(tree)
        return Recipe(tree, self.source, self.trusted)

    def to_yaml(self) -> str:
        """The recipe as a file that `load` reads as an equal one."""
        return yamlfile.dump({key: self.tree[key] for key in KEYS if key in self.tree})

    def save(self, path: str | Path) -> Path:
        """Write the recipe to a file, whole or not at all; returns where."""
        path = Path(path)
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            with contextlib.ExitStack() as undo:
                undo.callback(Path(name).unlink, missing_ok=True)
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(self.to_yaml())
                Path(name).chmod(0o644)
                Path(name).replace(path)
        except OSError as error:
            raise RecipeError(str(path), f"cannot be written: {error.strerror or error}") from error
        return path

    def _plan(self, section: str) -> config.Plan | None:
        node = self.tree.get(section)
        if node is None and section == "weights":
            return None
        if node is None and section == "model":
            raise RecipeError(self.source, "has no section `model`")
        node = {} if node is None else node
        versions.require_present(node, self.tree.get("versions"), section)
        allow = DEFAULT if self.trusted else untrusted(section)
        return config.check(node, annotation_of(section, node), section, allow)


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by its name or from a file.

    Args:
        name_or_path: a short, qualified or published name, or a file.
        overrides: changes such as "train.steps=100", in order; only onto what exists.

    Raises:
        UnknownNameError: there is no such recipe.
        RecipeError: the file, or one of its parents, is not a recipe.
        ConfigError: an override leads nowhere.
    """
    with _located(name_or_path) as (path, source):
        tree = _complete(yamlfile.read(path), path, source)
    return _whole(apply(tree, overrides), source)


def recipe_from_tree(tree: Mapping[str, Any], source: str = "a recipe", trusted: bool = True) -> Recipe:
    """A recipe from plain data.

    Args:
        tree: content of a recipe file; a parent is a name, not a file.
        source: name of the recipe in error messages.
        trusted: whether it may call any code, as `Recipe.trusted`.
    """
    return _whole(_complete(tree, None, source), source, trusted)


@dataclass(frozen=True)
class Listed:
    """A recipe as a list of recipes shows it; `problem` is why it cannot be read, "" where it can."""

    name: str
    qualified: str
    aliases: tuple[str, ...]
    summary: str
    problem: str = ""


def names() -> tuple[str, ...]:
    """The names of all recipes, without aliases; qualified where two plugins offer the same."""
    return tuple(listed.name for listed in listing())


def listing() -> tuple[Listed, ...]:
    """All recipes that are installed, by name. One that cannot be read is listed with the reason."""
    files: dict[tuple[str, str], list[registry.Component]] = {}
    offered = registry.components("recipes")
    for component in offered:
        files.setdefault((component.distribution, component.target), []).append(component)
    shorts = [component.name for component in offered]
    listings = []
    for components in files.values():
        # The published path, with a slash, is the alias of the short name.
        first, *others = sorted(components, key=lambda component: ("/" in component.name, component.name))
        name = first.name if shorts.count(first.name) == 1 else first.qualified
        summary = problem = ""
        try:
            with _located(first.qualified) as (path, source):
                summary = str(_keys(yamlfile.read(path), source).get("summary") or "")
        except DetError as error:
            problem = str(error)
        listings.append(Listed(name, first.qualified, tuple(other.name for other in others), summary, problem))
    return tuple(sorted(listings, key=lambda listed: listed.name))


@contextlib.contextmanager
def _located(reference: str | Path, where: str = "") -> Iterator[tuple[Path, str]]:
    """The file of a name or a path, and the name of the recipe."""
    name = str(reference)
    is_file = isinstance(reference, Path) or (_is_file_name(name) and exists(Path(name)))
    component = None if is_file else _by_file_name(name)
    if component is None and not is_file and not _is_file_name(name) and not exists(Path(name)):
        component = registry.find("recipes", name, where)
    if component is None:
        if Path(name).is_dir():
            raise RecipeError(name, "is a folder without the files of a run", fix="name a run, checkpoint or recipe")
        yield Path(name), name
        return
    with _packaged(component, where) as path:
        yield path, component.qualified


@contextlib.contextmanager
def _parent(name: str, folder: Path | None, source: str) -> Iterator[tuple[Path, str]]:
    """The parent that `extends` names: a recipe by its name, or a regular file below `folder`."""
    where = f"{source}: extends"
    beside = folder is not None and _is_file_name(name) and exists(folder / name)
    component = None if beside else _by_file_name(name)
    if component is None and not _is_file_name(name):
        component = registry.find("recipes", name, where)
    if component is not None:
        with _packaged(component, where) as path:
            yield path, component.qualified
        return
    fix = "name a recipe that is installed, or put the parent beside the recipe or below its folder"
    if folder is None:
        raise RecipeError(
            where, f"{name!r} is not the name of a recipe, and there is no folder to search for a file", fix=fix
        )
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise RecipeError(where, f"{name!r} leads out of the folder of the recipe", fix=fix)
    if exists(path) and not path.is_file():
        raise RecipeError(where, f"{name!r} is no regular file", fix=fix)
    yield path, str(path)


@contextlib.contextmanager
def _packaged(component: registry.Component, where: str) -> Iterator[Path]:
    """The file of a recipe that a plugin brings."""
    package, _, file = component.target.partition(":")
    try:
        resource = resources.files(package) / file
    except (Exception, SystemExit) as error:
        problem = f"its package {package!r} cannot be imported"
        raise PluginError(where or component.qualified, problem, described(error)) from error
    with resources.as_file(resource) as path:
        yield path


def _is_file_name(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _by_file_name(name: str) -> registry.Component | None:
    """The recipe of a published name, which Detectron2 writes with its suffix, or of "package:folder/file.yaml"."""
    for component in registry.components("recipes"):
        if component.target == name:
            return component
    stem = name.removesuffix(".yaml").removesuffix(".yml")
    try:
        return registry.find("recipes", stem) if stem != name else None
    except UnknownNameError:
        return None


def _complete(
    content: Any, path: Path | None, source: str, trail: Mapping[Path, str] = MappingProxyType({})
) -> dict[str, Any]:
    """The content of a recipe merged into its parents; `trail`: file -> name of its children."""
    tree = _keys(content, source)
    trail = {**trail, **({path.resolve(): source} if path else {})}
    parent = tree.pop("extends", None)
    if parent is None:
        return upgrade(tree)
    if not isinstance(parent, str) or "\0" in parent:
        raise RecipeError(source, "`extends` must name one parent", f"got {format_value(parent)}")
    with _parent(parent, path.parent if path else None, source) as (parent_path, parent_source):
        if parent_path.resolve() in trail:
            raise RecipeError(source, "its parents form a circle", " -> ".join((*trail.values(), parent_source)))
        below = _complete(yamlfile.read(parent_path), parent_path, parent_source, trail)
    tree = upgrade(tree, below)
    # Summary and versions of a parent are not those of its child.
    merged = {key: value for key, value in below.items() if key not in ("summary", "versions")}
    return merged | {key: merge(merged.get(key), value, DEFAULT_TYPES.get(key, "")) for key, value in tree.items()}


def _keys(content: Any, source: str) -> dict[str, Any]:
    """The content of a file, once its root reads like a recipe's."""
    if content is None:
        raise RecipeError(source, "is empty")
    if not isinstance(content, Mapping):
        raise RecipeError(source, "is not a recipe: it must be a mapping", f"it is {format_value(content)}")
    for key, value in content.items():
        if key not in KEYS:
            raise not_a_key(key, source)
        if key == "summary" and not isinstance(value, str | None):
            raise RecipeError(source, "`summary` must be text", f"got {format_value(value)}")
        if key in (*SECTIONS, "versions") and not isinstance(value, Mapping | None):
            raise RecipeError(source, f"`{key}` must be a mapping", f"got {format_value(value)}")
    return dict(content)


def _whole(tree: dict[str, Any], source: str, trusted: bool = True) -> Recipe:
    if tree.get("model") is None:
        raise RecipeError(source, "has no section `model`", fix="give it one, or name a parent by `extends`")
    versions.warn_of_others(tree.get("versions"), source)
    return Recipe({key: tree[key] for key in KEYS if key in tree}, source, trusted)
