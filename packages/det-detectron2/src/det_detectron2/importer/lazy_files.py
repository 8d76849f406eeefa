"""Detectron2's Python configurations, parsed without running them.

Supported is a plain tree of calls: `L(Class)(argument=value)`, `dict(...)`, lists, numbers and arithmetic, names
imported from adjacent files, assignments to parts of the tree, loops over lists. Anything else is an error with its
line.
"""

import ast
import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from det_core.errors import ConfigError, RecipeError
from det_core.printable import quoted
from det_safeload.regular import open_regular

from det_detectron2.importer.literals import Evaluator

__all__ = ["settings_from_python"]

_MAX_BYTES = 1_000_000
_MAX_FILES = 50
_ROOTS = ("model", "dataloader", "optimizer", "lr_multiplier", "train")
_REFERENCE = re.compile(r"\$\{(?P<up>\.*)(?P<name>[\w.]+)\}")
# Written as functions there.
_ALWAYS_OURS = ("common/coco_schedule.py",)


@dataclass(frozen=True)
class _Imported:
    """A name imported from another package."""

    name: str


def settings_from_python(path: Path) -> dict[str, Any]:
    """The tree of a file as flat settings, for `recipe_from_settings`.

    Raises:
        RecipeError: the file, or one that it imports, cannot be read or has no model.
        ConfigError: a line of it is more than a plain tree; with the line.
    """
    try:
        names = _Files().names_of(path, ())
        tree = {name: names[name] for name in _ROOTS if isinstance(names.get(name), dict)}
        if "model" not in tree:
            raise RecipeError(str(path), "has no `model`")
        return {key: _resolved(value, key, tree, str(path)) for key, value in _flat(tree, "")}
    except RecursionError:
        raise RecipeError(str(path), "is nested too deeply") from None


class _Files:
    """The files of one configuration, each read once."""

    def __init__(self) -> None:
        text = resources.files("det_detectron2.importer").joinpath("detectron2_common.json").read_text("utf-8")
        self._common: dict[str, dict[str, Any]] = json.loads(text)
        self._read: dict[Path, dict[str, Any]] = {}

    def names_of(self, path: Path, trail: tuple[Path, ...]) -> dict[str, Any]:
        """Names defined in a file; those of published common files are built in."""
        place = path.resolve()
        common = f"common/{place.as_posix().rpartition('/common/')[2]}"
        if common in self._common and (common in _ALWAYS_OURS or not place.is_file()):
            return copy.deepcopy(self._common[common])
        if place in trail:
            raise RecipeError(str(path), "its imports form a circle", " -> ".join(map(str, (*trail, place))))
        if place not in self._read:
            if len(self._read) >= _MAX_FILES:
                raise RecipeError(str(path), f"is one of more than {_MAX_FILES} files")
            self._read[place] = {}
            self._read[place] = _Module(place, self, (*trail, place)).names
        return copy.deepcopy(self._read[place])


class _Module(Evaluator):
    """One file, with its statements evaluated in order."""

    def __init__(self, path: Path, files: _Files, trail: tuple[Path, ...]) -> None:
        super().__init__(str(path))
        self._path, self._files, self._trail = path, files, trail
        self.names: dict[str, Any] = {}
        for statement in _parsed(path).body:
            self._follow(statement)

    def _follow(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.ImportFrom):
            self._import(statement)
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                self.names[alias.asname or alias.name.partition(".")[0]] = _Imported(alias.name.rpartition(".")[2])
        elif isinstance(statement, ast.Assign):
            value = self.value(statement.value, self.names)
            for target in statement.targets:
                self._assign(target, copy.deepcopy(value))
        elif isinstance(statement, ast.For) and not statement.orelse:
            for item in self.items(statement.iter, self.names):
                self.spend(statement)
                self._assign(statement.target, item)
                for each in statement.body:
                    self._follow(each)
        elif isinstance(statement, ast.AugAssign):
            before = self.value(_loaded(statement.target), self.names)
            after = self.value(statement.value, self.names)
            self._assign(statement.target, self.arithmetic(statement, before, statement.op, after))
        elif isinstance(statement, ast.Delete):
            for target in statement.targets:
                node, key = self._place(target)
                node.pop(key, None)
        elif isinstance(statement, ast.Expr):
            self.value(statement.value, self.names)
        else:
            raise self.refusal(statement)

    def _import(self, statement: ast.ImportFrom) -> None:
        if not statement.level:
            module_names = None
        else:
            folder = self._path.parents[min(statement.level, len(self._path.parents)) - 1]
            parts = (statement.module or "").split(".") if statement.module else []
            if not parts:
                raise self.refusal(statement)
            module_names = self._files.names_of(folder.joinpath(*parts).with_suffix(".py"), self._trail)
        for alias in statement.names:
            if alias.name == "*":
                raise self.refusal(statement)
            if module_names is None:
                self.names[alias.asname or alias.name] = _Imported(alias.name)
            elif alias.name in module_names:
                self.names[alias.asname or alias.name] = module_names[alias.name]
            else:
                raise self.refusal(statement, f"imports {alias.name!r}, which that file does not define")

    def _assign(self, target: ast.expr, value: Any) -> None:
        for each, part in self.unpacked(target, value):
            node, key = self._place(each)
            node[key] = part

    def _place(self, target: ast.expr) -> tuple[Any, Any]:
        """Container and key of a name, `a.b` or `a["b"]`."""
        if isinstance(target, ast.Name):
            return self.names, target.id
        if isinstance(target, ast.Attribute | ast.Subscript):
            node = self.value(target.value, self.names)
            key = _key(target.attr) if isinstance(target, ast.Attribute) else self.value(target.slice, self.names)
            if isinstance(node, dict) and isinstance(key, str):
                return node, key
            if isinstance(node, list) and isinstance(key, int) and -len(node) <= key < len(node):
                return node, key
        raise self.refusal(target)

    def other(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        """The value of an expression other than arithmetic."""
        if isinstance(node, ast.Lambda):
            return "<lambda>"  # a norm, identified by the importer of the tree
        if isinstance(node, ast.Dict):
            return self._mapping(node, names)
        if isinstance(node, ast.DictComp):
            rounds = self._rounds(node, node.generators, names)
            return self._by_text(node, [(self.value(node.key, n), self.value(node.value, n)) for n in rounds])
        if isinstance(node, ast.Attribute | ast.Subscript):
            return self._part(node, names)
        if isinstance(node, ast.Call):
            return self._call(node, names)
        raise self.refusal(node)

    def _mapping(self, node: ast.Dict, names: Mapping[str, Any]) -> dict[str, Any]:
        keys = [self.value(key, names) if key is not None else None for key in node.keys]
        return self._by_text(node, zip(keys, [self.value(value, names) for value in node.values], strict=True))

    def _by_text(self, node: ast.expr, items: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
        mapping = dict(items)
        if not all(isinstance(key, str) for key in mapping):
            raise self.refusal(node)
        return {_key(key): value for key, value in mapping.items()}

    def _part(self, node: ast.Attribute | ast.Subscript, names: Mapping[str, Any]) -> Any:
        whole = self.value(node.value, names)
        key: Any = _key(node.attr) if isinstance(node, ast.Attribute) else self.value(node.slice, names)
        if isinstance(whole, _Imported) and isinstance(node, ast.Attribute):
            return _Imported(node.attr)
        try:
            if isinstance(whole, dict | list):
                return whole[key]
        except (KeyError, IndexError, TypeError):
            raise self.refusal(node, f"has no {key!r}") from None
        raise self.refusal(node)

    def _call(self, node: ast.Call, names: Mapping[str, Any]) -> Any:
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr in ("pop", "update"):
            return self._change(node, function, names)
        if isinstance(function, ast.Name) and function.id == "dict" and "dict" not in names:
            return self._arguments(node, names)
        if isinstance(function, ast.Call):  # L(Class)(...)
            lazy, target = self.value(function.func, names), [self.value(each, names) for each in function.args]
            if lazy == _Imported("LazyCall") and len(target) == 1 and isinstance(target[0], _Imported):
                return {**self._arguments(node, names), "kind": target[0].name}
            raise self.refusal(node)
        called = self.value(function, names)
        if called == _Imported("ShapeSpec"):
            return self._arguments(node, names)
        if called == _Imported("create") and isinstance(function, ast.Attribute):  # OmegaConf.create()
            arguments = [self.value(each, names) for each in node.args] or [{}]
            if len(arguments) == 1 and isinstance(arguments[0], dict) and not node.keywords:
                return arguments[0]
        if called == _Imported("partial") and len(node.args) == 1:
            return self._partial(node, names)
        if called == _Imported("create_keypoint_hflip_indices"):
            return None  # keypoints change places by their names
        if called == _Imported("get_config") and len(node.args) == 1 and not node.keywords:
            return self._published(node, self.value(node.args[0], names))
        raise self.refusal(node)

    def _arguments(self, node: ast.Call, names: Mapping[str, Any]) -> dict[str, Any]:
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            raise self.refusal(node, "must give its arguments by name")
        return {_key(str(keyword.arg)): self.value(keyword.value, names) for keyword in node.keywords}

    def _partial(self, node: ast.Call, names: Mapping[str, Any]) -> str:
        """A function with some of its arguments, as `Objects.partial` reads it."""
        function = self.value(node.args[0], names)
        arguments = self._arguments(ast.Call(node.func, [], node.keywords, lineno=node.lineno), names)
        if not isinstance(function, _Imported):
            raise self.refusal(node)
        return (
            f"functools.partial(<class '{function.name}'>" + "".join(f", {k}={v!r}" for k, v in arguments.items()) + ")"
        )

    def _change(self, node: ast.Call, function: ast.Attribute, names: Mapping[str, Any]) -> Any:
        whole = self.value(function.value, names)
        if not isinstance(whole, dict):
            raise self.refusal(node)
        if function.attr == "update":
            whole.update(self._arguments(node, names))
            return None
        keys = [self.value(each, names) for each in node.args]
        if not keys or not isinstance(keys[0], str) or node.keywords:
            raise self.refusal(node)
        return whole.pop(keys[0], None)

    def _published(self, node: ast.Call, name: Any) -> dict[str, Any]:
        """A file that is asked for by its place among the published ones: beside this file, above it, or known.

        A project's files ask for those in the folder `configs` beside that of the projects.
        """
        if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
            raise self.refusal(node)
        folders = [place for folder in self._path.parents for place in (folder, folder / "configs")]
        places = [folder / name for folder in folders if (folder / name).is_file()]
        return self._files.names_of(places[0] if places else folders[0] / name, self._trail)


def _parsed(path: Path) -> ast.Module:
    try:
        with open_regular(path) as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise RecipeError(str(path), "is larger than 1 MB, so it is no configuration")
        return ast.parse(content)
    except (SyntaxError, ValueError, MemoryError) as error:
        if isinstance(error, RecipeError):
            raise
        raise RecipeError(str(path), "is not Python", str(error)) from error
    except FileNotFoundError:
        raise RecipeError(str(path), "there is no such file") from None
    except OSError as error:
        raise RecipeError(str(path), "cannot be read", error.strerror or str(error)) from error


def _key(name: str) -> str:
    """An entry as it is called here: the class of a call is its "kind"."""
    return "kind" if name == "_target_" else name


def _loaded(target: ast.expr) -> ast.expr:
    loaded = copy.deepcopy(target)
    for node in ast.walk(loaded):
        if hasattr(node, "ctx"):
            node.ctx = ast.Load()
    return loaded


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(each, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for number, each in enumerate(value):
            yield from _flat(each, f"{prefix}.{number}")
    else:
        yield prefix, value.name if isinstance(value, _Imported) else value


def _resolved(value: Any, path: str, tree: Mapping[str, Any], where: str, depth: int = 0) -> Any:
    """A value, or what a reference such as "${..num_classes}" leads to, each dot beyond the first a level up."""
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if not match:
        return value
    keys = path.split(".")[: -len(match["up"])] if match["up"] else []
    keys += match["name"].split(".")
    node: Any = tree
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    if node is None or depth > _MAX_FILES:
        raise ConfigError(f"{where}: {path}", "refers to nothing", f"got {quoted(value)}")
    if isinstance(node, dict):
        return value  # a whole part, of which there is nothing to copy here
    return _resolved(node, ".".join(keys), tree, where, depth + 1)
