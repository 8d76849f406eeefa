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

__all__ = ["Use", "dotted", "parse", "program_files", "recipe_of", "untranslated", "uses_of"]

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
    for name, line in _names(parse(file)):
        lines.setdefault(name, line)
    # A module whose names are used is not listed beside them.
    single = [name for name in lines if not any(other.startswith(f"{name}.") for other in lines)]
    checked = [_use(file, lines[name], name) for name in single]
    return sorted(checked, key=lambda each: (each.line, each.name))


def parse(file: Path) -> ast.Module:
    """The syntax tree of a program.

    Raises:
        DataError: the file is no Python.
    """
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
        path = dotted(node)
        if path is not None and path[0] in aliases:
            yield ".".join((aliases[path[0]], *path[1:])), node.lineno  # type: ignore[attr-defined]


def dotted(node: ast.AST) -> tuple[str, ...] | None:
    """The parts of a.b.c; None for anything else."""
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


def recipe_of(file: Path) -> tuple[Any, list[str]] | None:
    """The recipe of the settings that a program writes down, and what of them the recipe lacks, a line for each.

    Read are `merge_from_file(model_zoo.get_config_file("..."))`, `model_zoo.get_config("...")`, and assignments of
    plain values and of `model_zoo.get_checkpoint_url("...")`, such as `cfg.SOLVER.BASE_LR = 0.01`. None for a program
    that takes no published configuration.
    """
    from det_core import recipes

    from det_detectron2.importer.files import recipe_from_settings
    from det_detectron2.layer import model_zoo
    from det_detectron2.layer.modeling.model import flat_settings

    tree = parse(file)
    names = [name for call in _calls(tree) if (name := _published_name(call, "get_config_file", "get_config"))]
    if not names:
        return None
    cfg = model_zoo.get_config(names[-1])
    lacking = []
    for path, value, line in _settings(tree):
        *folders, last = path
        node = cfg
        for folder in folders:
            node = {} if node is None else node.get(folder)
        if value is _UNREAD or node is None or last not in node:
            reason = "is computed when the program runs" if value is _UNREAD else "is no setting of Detectron2"
            lacking.append(f"{file}:{line}: {'.'.join(path)} {reason}; set it in the recipe")
        else:
            node[last] = value
    lacking += [
        f"{file}:{call.lineno}: settings of the command line or of a list become --set of det train"
        for call in _calls(tree)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "merge_from_list"
    ]
    imported = recipe_from_settings(flat_settings(cfg))
    return recipes.recipe_from_tree(imported.tree, str(file)), [*lacking, *untranslated(imported)]


def untranslated(imported: Any) -> list[str]:
    """A line for each setting that a recipe lacks, and one about the datasets where they are among them."""
    settings = [*imported.unknown, *imported.unused]
    lines = [f"not translated: {setting}" for setting in settings]
    if any(setting.startswith("DATASETS.") for setting in settings):
        lines.append(
            "add your files to the recipe, data: {train: {type: coco, images: FOLDER, annotations: FILE}, val: ...}"
        )
    return lines


_UNREAD = object()
"""Stands for a value that is known only when the program runs."""


def _calls(tree: ast.Module) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _published_name(node: ast.AST, *functions: str) -> str | None:
    """The argument of a call of one of the functions of `model_zoo`."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in functions
        and node.args
    ):
        first = node.args[0]
        return str(first.value) if isinstance(first, ast.Constant) else None
    return None


def _settings(tree: ast.Module) -> list[tuple[tuple[str, ...], Any, int]]:
    """The settings that a program changes, with their values and lines."""
    settings: list[tuple[tuple[str, ...], Any, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            path = dotted(node.targets[0])
            if path is not None and len(path) > 1 and path[1].isupper() and path[1] != "OUTPUT_DIR":
                settings.append((path[1:], _value(node.value), node.lineno))
    return settings


def _value(node: ast.expr) -> Any:
    from det_detectron2.layer import model_zoo

    try:
        if name := _published_name(node, "get_checkpoint_url"):
            return model_zoo.get_checkpoint_url(name)
        return ast.literal_eval(node)
    except (ValueError, RuntimeError):
        return _UNREAD
