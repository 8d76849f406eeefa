"""Which names of Detectron2 a program uses, which of them the layer has, and the recipe that its settings become.

Programs are read, not run.
"""

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from det_core.errors import DataError

__all__ = ["Use", "program_files", "recipe_of", "uses_of"]

_LAYER, _NAME = "det_detectron2.layer", "detectron2"
_COUNTERPARTS = {
    "detectron2.export": "det export CHECKPOINT --format onnx (package det-export)",
    "detectron2.projects.point_rend": "package det-pointrend",
    "detectron2.projects.deeplab": "package det-panoptic",
    "detectron2.projects.panoptic_deeplab": "package det-panoptic",
    "detectron2.projects": "det recipes import, with the package of the project",
    "detectron2.modeling.mmdet_wrapper": "a backbone of your own, see docs/first-plugin.md",
    "detectron2.modeling.test_time_augmentation": "det eval --augment, Detector.augmented",
}
"""What det has in place of what the layer lacks, by the beginning of the name."""


@dataclass(frozen=True)
class Use:
    """A name of Detectron2 in a program.

    Attributes:
        file: the program.
        line: where it is first used.
        name: such as "detectron2.engine.DefaultTrainer".
        works: whether the layer has it.
        counterpart: in det, of one that the layer lacks; "" if there is none.
    """

    file: Path
    line: int
    name: str
    works: bool
    counterpart: str = ""

    def __str__(self) -> str:
        if self.works:
            return f"{self.file}:{self.line}: {self.name}"
        counterpart = f"; in det: {self.counterpart}" if self.counterpart else ""
        return f"{self.file}:{self.line}: {self.name} is not part of the layer{counterpart}"


def program_files(path: Path) -> list[Path]:
    """A program, or all Python files in a folder.

    Raises:
        DataError: there is no such file, or no Python file in the folder.
    """
    if path.is_file():
        return [path]
    files = sorted(each for each in path.rglob("*.py") if not any(part.startswith(".") for part in each.parts[1:]))
    if not files:
        raise DataError(str(path), "is no Python file, and no folder with one")
    return files


def uses_of(file: Path) -> list[Use]:
    """The names of Detectron2 that a program uses, once each, in the order of their lines.

    Raises:
        DataError: the file is no Python.
    """
    lines: dict[str, int] = {}
    for name, line in _names(_tree(file)):
        lines.setdefault(name, line)
    # A module whose names are used is not listed beside them.
    single = [name for name in lines if not any(other.startswith(f"{name}.") for other in lines)]
    checked = [_use(file, lines[name], name) for name in single]
    return sorted(checked, key=lambda each: (each.line, each.name))


def _tree(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_text("utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        raise DataError(str(file), "is no Python of this version", str(error)) from error


def _names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                if each.name == _NAME or each.name.startswith(f"{_NAME}."):
                    aliases[each.asname or _NAME] = each.name if each.asname else _NAME
                    yield each.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and f"{node.module}.".startswith(f"{_NAME}."):
            for each in node.names:
                name = str(node.module) if each.name == "*" else f"{node.module}.{each.name}"
                aliases[each.asname or each.name] = name
                yield name, node.lineno
    for node in ast.walk(tree):
        path = _dotted(node)
        if path is not None and path[0] in aliases:
            yield ".".join((aliases[path[0]], *path[1:])), node.lineno  # type: ignore[attr-defined]


def _dotted(node: ast.AST) -> tuple[str, ...] | None:
    """The parts of a.b.c."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return (node.id, *parts) if isinstance(node, ast.Name) and parts else None


def _use(file: Path, line: int, name: str) -> Use:
    if _has(name):
        return Use(file, line, name, True)
    matches = [begin for begin in _COUNTERPARTS if name == begin or name.startswith(f"{begin}.")]
    return Use(file, line, name, False, _COUNTERPARTS[max(matches, key=len)] if matches else "")


def _has(name: str) -> bool:
    """Whether the layer has a name; attributes of classes and objects are not checked."""
    parts = name.split(".")[1:]
    value: Any = importlib.import_module(_LAYER)
    for place, part in enumerate(parts):
        if not isinstance(value, ModuleType):
            return not _is_missing(value)
        try:
            value = getattr(value, part)
        except AttributeError:
            try:
                value = importlib.import_module(".".join((_LAYER, *parts[: place + 1])))
            except ModuleNotFoundError:
                return False
    return not _is_missing(value)


def _is_missing(value: Any) -> bool:
    return getattr(value, "__module__", "") == f"{_LAYER}.export.missing"


def recipe_of(file: Path) -> Any:
    """The recipe of the settings that a program writes as plain values; None if it takes no published configuration.

    Read are `merge_from_file(model_zoo.get_config_file("..."))`, `model_zoo.get_config("...")`, and assignments such as
    `cfg.SOLVER.BASE_LR = 0.01`.
    """
    from det_core import recipes

    from det_detectron2.importer.files import recipe_from_settings
    from det_detectron2.layer import model_zoo
    from det_detectron2.layer.modeling.model import flat_settings

    name, settings = _settings(_tree(file))
    if name is None:
        return None
    cfg = model_zoo.get_config(name)
    for path, value in settings:
        *folders, last = path
        node = cfg
        for folder in folders:
            node = node.get(folder)
            if node is None:
                break
        if node is not None and last in node:
            node[last] = value
    return recipes.recipe_from_tree(recipe_from_settings(flat_settings(cfg)).tree, str(file))


def _settings(tree: ast.Module) -> tuple[str | None, list[tuple[tuple[str, ...], Any]]]:
    """The published configuration of a program, and the settings that it changes to plain values."""
    name: str | None = None
    settings: list[tuple[tuple[str, ...], Any]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            first = node.args[0]
            if node.func.attr in ("get_config_file", "get_config") and isinstance(first, ast.Constant):
                name = str(first.value)
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            path = _dotted(node.targets[0])
            if path is not None and len(path) > 1 and path[1].isupper():
                try:
                    settings.append((path[1:], ast.literal_eval(node.value)))
                except ValueError:
                    continue
    return name, settings
