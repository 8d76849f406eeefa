"""Loads a model with its weights from a checkpoint, an exported file, or a recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from torch import nn

from det_core import recipes
from det_core.engine import Checkpoint, RunFolder, initial_model, read_about, read_checkpoint
from det_core.errors import CheckpointError, ConfigError, MissingExtraError, UntrustedError, WeightsError
from det_core.plugins import known, registry
from det_core.plugins.versions import require_present
from det_core.recipes import Recipe
from det_core.recipes import yaml as yamlfile
from det_core.recipes.overrides import apply
from det_core.weights import load_into, read
from det_core.weights.sources import fetch
from det_core.zoo import published
from det_core.zoo.class_names import category_ids, class_names

__all__ = ["LoadedModel", "load_model"]

_CHECKPOINT = ".safetensors"
_WEIGHT_FILES = (".pt", ".pth", ".pkl", ".bin", ".ckpt")
_TRANSFORMS = "data.eval_transforms"


@dataclass(frozen=True)
class LoadedModel:
    """A model and its metadata.

    Attributes:
        model: a `Model` with its weights, on the CPU as a rule.
        classes: the name of each label.
        category_ids: category id of the dataset for each label; () if unknown.
        transforms: transforms of images before the model.
        about: metadata of the checkpoint, for exporters.
        recipe: recipe of the model; None of an exported file.
        weights: the file or address of the weights; "" if the recipe's own initial weights are a whole model.
    """

    model: nn.Module
    classes: Sequence[str]
    category_ids: Sequence[int] = ()
    transforms: Sequence[Any] = ()
    about: Checkpoint | None = None
    recipe: Recipe | None = None
    weights: str = ""


def load_model(
    source: str | PathLike[str], weights: str | PathLike[str] | None, overrides: Sequence[str], trust: bool
) -> LoadedModel:
    """The model that `source` means; arguments and errors as of `Detector.load`."""
    path = _file_of(source)
    if path is None:
        return _from_recipe(source if isinstance(source, str) else Path(source), weights, overrides)
    if weights is not None:
        fix = "give a recipe and weights, or the checkpoint alone"
        raise ConfigError("weights", "a checkpoint brings its own", f"got {fspath(weights)} beside {path}", fix)
    read = _from_checkpoint if path.suffix == _CHECKPOINT else _from_exported
    return read(path, overrides, trust)


def _file_of(source: str | PathLike[str]) -> Path | None:
    """The checkpoint or exported file that `source` means; None if it means a recipe."""
    path = fetch(source) if isinstance(source, str) and "://" in source else Path(source)
    if path.is_dir() and RunFolder(path).newest_good.exists():
        return RunFolder(path).newest_good
    if path.suffix == _CHECKPOINT or (path.is_file() and _exporter_of(path) is not None):
        return path
    if path.suffix in _WEIGHT_FILES:
        fix = "name its recipe, and give this file as the weights"
        raise CheckpointError(str(path), "is not a checkpoint with the recipe of its model", fix=fix)
    return None


def _from_checkpoint(path: Path, overrides: Sequence[str], trust: bool) -> LoadedModel:
    about, state = read_checkpoint(path)
    where = f"the recipe in {path}"
    try:
        tree = apply(yamlfile.parse(about.recipe, where), overrides, trusted=trust)
        recipe = recipes.recipe_from_tree(tree, where, trusted=trust)
        require_present(recipe.tree["model"], about.versions, "model")
        transforms = recipe.build_part(_TRANSFORMS, Sequence[Any])
        model = recipe.build_model()
    except UntrustedError as error:
        problem = "its recipe names what is on no list of an installed plugin"
        raise CheckpointError(str(path), problem, f"{error.where}: {error.problem}", error.fix) from error
    _put_into(model, state, str(path))
    return LoadedModel(model, about.classes, about.category_ids, transforms, about, recipe, str(path))


def _from_recipe(source: str | Path, weights: str | PathLike[str] | None, overrides: Sequence[str]) -> LoadedModel:
    recipe = recipes.load(source, overrides)
    location = _weights_of(recipe, overrides) if weights is None else _location(weights)
    model: Any = initial_model(recipe) if location is None else recipe.build_model()
    state = None if location is None else read(location)
    about = read_about(fetch(str(location))) if str(location).endswith(_CHECKPOINT) else None
    if state is not None:
        try:
            _put_into(model, state, str(location))
        except WeightsError as error:
            if about is None:
                raise
            fix = "use it as --model, without a recipe: it holds the recipe that made it"
            raise WeightsError(error.where, error.problem, error.found, fix) from error
    classes, ids = (about.classes, about.category_ids) if about else _known_classes(recipe, model.num_classes)
    transforms = recipe.build_part(_TRANSFORMS, Sequence[Any])
    return LoadedModel(model, classes, ids, transforms, about, recipe, str(location or ""))


def _from_exported(path: Path, overrides: Sequence[str], trust: bool) -> LoadedModel:
    if any(not each.startswith("data") for each in overrides):
        raise ConfigError(str(path), "an exported file cannot be changed", f"got {overrides[0]!r}")
    exporter = _exporter_of(path)()
    exporter.trust = trust
    model = exporter.load(path)
    recipe = _of_exported(getattr(model, "recipe", ""), f"the recipe in {path}", overrides, trust)
    transforms = () if recipe is None else recipe.build_part(_TRANSFORMS, Sequence[Any])
    names = getattr(model, "classes", None) or class_names("", model.num_classes)
    return LoadedModel(model, names, tuple(getattr(model, "category_ids", ())), transforms, None, recipe, str(path))


def _of_exported(text: str, where: str, overrides: Sequence[str], trust: bool) -> Recipe | None:
    """The recipe that an exported file was made of, for its `data`; None where it has none."""
    if not text:
        return None
    tree = apply(yamlfile.parse(text, where), overrides, trusted=trust)
    return recipes.recipe_from_tree(tree, where, trusted=trust)


def _exporter_of(path: Path) -> Any:
    """The first exporter, by name, whose class declares the suffix of a file; None where none does."""
    offered = sorted(registry.components("exporters"), key=lambda component: component.qualified)
    return next((each.load() for each in offered if path.suffix in getattr(each.load(), "suffixes", ())), None)


def _put_into(model: nn.Module, state: Any, where: str) -> None:
    try:
        load_into(model, state, where=where)
    except WeightsError as error:
        try:
            hinted = known.function("hint of a recipe")(error, state, model)
        except MissingExtraError:
            hinted = error
        raise hinted from error


def _location(weights: str | PathLike[str]) -> str | Path:
    """A path, or an address as it is."""
    return fspath(weights) if "://" in fspath(weights) else Path(weights)


def _weights_of(recipe: Recipe, overrides: Sequence[str]) -> str | None:
    """The weights of the whole model: the published ones of its name, unless the overrides name others.

    None means the initial weights of the recipe.
    """
    model = published.of_recipe(recipe.source)
    if model is not None and model.weights is not None and not any(each.startswith("weights") for each in overrides):
        return model.weights
    initial = recipe.build("weights")
    if initial is not None and not initial.into and not initial.skip:
        return None
    problem = "has no trained weights" if initial is None else "starts training from weights of a part of the model"
    if model is not None and model.weights is None:
        problem = f"{problem}, and there are no published weights of {model.name}"
    fix = "give --weights FILE (in Python weights=FILE), or load the checkpoint of a training run"
    raise WeightsError(recipe.source, problem, fix=fix)


def _known_classes(recipe: Recipe, count: int) -> tuple[Sequence[str], Sequence[int]]:
    """The names of the classes of a published model and their numbers; "class 0" and so on, and (), of others."""
    model = published.of_recipe(recipe.source)
    if model is None:
        return class_names("", count), ()
    listed = ((recipe.tree.get("data") or {}).get("val") or {}).get("classes") or ()
    if len(listed) == count:
        return tuple(map(str, listed)), ()
    return class_names(model.data, count), category_ids(model.data, count)
