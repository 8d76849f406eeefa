"""Configuration files of Detectron2, read without running any code in them."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from det_core.errors import ConfigError, RecipeError
from det_core.printable import quoted
from det_core.recipes import yaml as yamlfile
from det_core.recipes.overrides import merge

from det_detectron2.importer.detectron2 import Imported, recipe_from_yaml_settings
from det_detectron2.importer.detectron2_lazy import recipe_from_objects
from det_detectron2.importer.extensions import extensions
from det_detectron2.importer.lazy_files import settings_from_python
from det_detectron2.importer.literals import MAX_VALUES, evaluate
from det_detectron2.importer.settings import Settings

__all__ = ["recipe_from_file", "recipe_from_settings", "settings_from_yaml", "with_bases"]

_BASE = "_BASE_"


def recipe_from_file(path: Path) -> Imported:
    """The recipe of a configuration file of Detectron2.

    Args:
        path: a YAML file, with its `_BASE_` files in place, or a Python file that is a plain tree of calls.

    Raises:
        RecipeError: the file, or one that it builds on, cannot be read, or is of another program.
        ConfigError: a value is not of the kind that the setting has.
        UnsupportedError: the model needs a part that does not exist here.
    """
    if path.suffix == ".py":
        settings = settings_from_python(path)
        if "model.kind" not in settings:
            found, fix = "its `model` is no call of a class", "Detectron2 writes model = L(Class)(...)"
            raise RecipeError(str(path), "is no configuration of Detectron2", found, fix)
    else:
        settings = settings_from_yaml(path)
        _require_detectron2(settings, str(path))
        _require_kinds(settings, str(path))
    try:
        return recipe_from_settings(settings, f"Imported from {path.name}")
    except (TypeError, IndexError, KeyError, AttributeError) as error:
        raise ConfigError(str(path), "holds a value of another form than Detectron2's", str(error)) from error
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(str(path), "holds a value of another form than Detectron2's", str(error)) from error


def recipe_from_settings(settings: Mapping[str, Any], summary: str = "") -> Imported:
    """The recipe of a published configuration.

    Args:
        settings: flat, with dots in the names; what is absent has Detectron2's default. Those of a Python file have
            a "model.kind", such as "FCOS".
        summary: the summary of the recipe.

    Raises:
        UnsupportedError: the configuration needs a part that does not exist here yet.
        ConfigError: the settings are not flat.
    """
    if nested := [key for key, value in settings.items() if isinstance(value, Mapping) and "." not in key]:
        raise ConfigError(nested[0], "settings must be flat", "it holds a mapping", "write MODEL.RPN.NMS_THRESH: 0.7")
    return (recipe_from_objects if "model.kind" in settings else recipe_from_yaml_settings)(settings, summary)


def settings_from_yaml(path: Path) -> dict[str, Any]:
    """All settings of a YAML file and its bases, flat, with dots in the names.

    Tuples are written as in Detectron2: as a list, as text, "(60000, 80000)", or with a tag. The tag for `eval`
    supports lists of numbers only.

    Raises:
        RecipeError: as `recipe_from_file`.
    """
    return dict(_flat(with_bases(path)))


def _tuple(value: Any, where: str) -> Any:
    return value


def _evaluated(value: Any, where: str) -> Any:
    if not (isinstance(value, list) and len(value) == 1 and isinstance(value[0], str)):
        raise RecipeError(where, "asks for `eval` of something that is no text")
    return evaluate(value[0], where)


_TAGS = {"python/tuple": _tuple, "python/object/apply:eval": _evaluated}


def with_bases(path: Path, trail: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The nested settings of a YAML file over those of its bases; `trail` holds the files that led to it."""
    place = path.resolve()
    if place in trail:
        raise RecipeError(str(path), f"its {_BASE} files form a circle", " -> ".join(map(str, (*trail, place))))
    if path.exists() and not path.is_file() and not path.is_dir():
        raise RecipeError(str(path), "is no plain file")
    content = yamlfile.read(path, _TAGS)
    if not isinstance(content, dict):
        raise RecipeError(str(path), "is no configuration: it must be a mapping")
    base = content.pop(_BASE, None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise RecipeError(f"{path}: {_BASE}", "must name one file", f"got {quoted(base, 60)}")
    if "://" in base:
        raise RecipeError(f"{path}: {_BASE}", "is a URL, which is not fetched", f"got {quoted(base)}", "download it")
    file = path.parent / Path(base).expanduser()
    if not file.exists():
        fix = f"it is relative to the folder of {path.name}: get the file that belongs there, or correct the path"
        raise RecipeError(f"{path}: {_BASE}", "names a file that is not there", str(file), fix)
    below = with_bases(file, (*trail, place))
    merged: dict[str, Any] = merge(below, content)
    return merged


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _decoded(value)


def _decoded(value: Any) -> Any:
    """A value; text of another constant, such as "(60000, 80000)" or "1e-4", is converted to it."""
    if not isinstance(value, str) or len(value) > MAX_VALUES:
        return value
    try:
        literal = ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return value
    return literal if isinstance(literal, int | float | str | tuple | list | None) else value


def _require_detectron2(settings: Mapping[str, Any], where: str) -> None:
    """Refuse a file of another program, which would become Detectron2's default model, a C4 network of 80 classes.

    Settings of a plugin's part may be named after data, such as meshes, so a file that names such a part is accepted.
    """
    if any(settings.get(key) == value for extension in extensions() for key, value in extension.parts):
        return
    defaults = Settings({}).defaults
    matching, unknown = ([key for key in settings if (key in defaults) == is_default] for is_default in (True, False))
    if not matching or len(unknown) > len(matching):
        some = ", ".join(f"{key:.60}" for key in unknown[:5])
        detail = f"Detectron2 has {len(matching)} of its {len(settings)} settings" + (
            f", but not {some}" if some else ""
        )
        fix = "give a file such as those of Detectron2's configs folder"
        raise RecipeError(where, "is no configuration of Detectron2", detail, fix)


def _require_kinds(settings: Mapping[str, Any], where: str) -> None:
    """Refuse values of another kind than the default of their setting, such as a list in place of a number."""
    defaults = Settings({}).defaults
    for key, value in settings.items():
        default = defaults.get(key)
        if default is None or value is None or _kind(value) == _kind(default):
            continue
        if key == "INPUT.MIN_SIZE_TRAIN" and _kind(value) == "a number":
            continue
        raise ConfigError(f"{where}: {key}", f"must be {_kind(default)}", f"got {quoted(value, 60)}")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "a number" if isinstance(value, int | float) else "text" if isinstance(value, str) else "a list"
