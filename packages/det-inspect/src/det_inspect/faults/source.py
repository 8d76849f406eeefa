"""Definitions of classes and functions, read from source files; no module is imported or run."""

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Definition", "Module", "definition", "dotted", "module_of"]

_DEEPEST = 20  # imports of one name from module to module


@dataclass(frozen=True)
class Module:
    """A module's source.

    Attributes:
        name: full import name of the module.
        is_package: whether relative imports start at the module itself.
        body: statements of the module.
    """

    name: str
    is_package: bool
    body: tuple[ast.stmt, ...]

    def absolute(self, statement: ast.ImportFrom) -> str:
        """The full name of the module that a statement imports from."""
        if not statement.level:
            return statement.module or ""
        parts = self.name.split(".")
        parts = parts[: len(parts) - statement.level + self.is_package]
        return ".".join([*parts, *([statement.module] if statement.module else [])])


@dataclass(frozen=True)
class Definition:
    """A class, a function or the value of an assignment, and where it is.

    Attributes:
        node: the class or function, or the value.
        module: the module that holds it.
        name: name of the definition in that module.
    """

    node: ast.ClassDef | ast.FunctionDef | ast.expr
    module: Module
    name: str

    @property
    def path(self) -> str:
        """Its import path."""
        return f"{self.module.name}:{self.name}"


@cache
def _file_of(name: str) -> Path | None:
    """The file of a module; None where it is not Python, or there is none."""
    root, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(root)  # a top-level module is located without running it
    except (ValueError, ImportError):
        return None
    if spec is None or (rest and not spec.submodule_search_locations):
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    place = Path(next(iter(spec.submodule_search_locations or ())), *rest)
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return file if file.is_file() else None


@cache
def module_of(name: str) -> Module | None:
    """The source of a module; None where it is not Python, or there is none."""
    file = _file_of(name)
    try:
        tree = ast.parse(file.read_text(encoding="utf-8")) if file is not None else None
    except (OSError, ValueError, SyntaxError, RecursionError):
        return None
    return None if tree is None or file is None else Module(name, file.name == "__init__.py", tuple(tree.body))


@cache
def definition(module: str, name: str, depth: int = 0) -> Definition | None:
    """The definition behind a name of a module, through imports; None where it is not found."""
    source = module_of(module) if depth < _DEEPEST else None
    if source is None:
        return None
    for statement in reversed(source.body):
        if isinstance(statement, ast.ClassDef | ast.FunctionDef) and statement.name == name:
            return Definition(statement, source, name)
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if alias.name == "*":
                    imported = definition(source.absolute(statement), name, depth + 1)
                    if imported is not None:
                        return imported
                elif (alias.asname or alias.name) == name:
                    return definition(source.absolute(statement), alias.name, depth + 1)
        elif name in _targets(statement):
            value = getattr(statement, "value", None)
            return None if value is None else Definition(value, source, name)
    return None


def _targets(statement: ast.stmt) -> Iterator[str]:
    """The plain names that a statement assigns to."""
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    elif type(statement).__name__ == "TypeAlias":  # type X = ..., from Python 3.12
        targets = [statement.name]  # type: ignore[attr-defined]
    return (target.id for target in targets if isinstance(target, ast.Name))


def dotted(expression: ast.expr, module: Module) -> str:
    """The import path that a name or an attribute such as `torch.optim.SGD` means in a module; "" if it is neither.

    A name that the module does not import is taken to be its own.
    """
    parts: list[str] = []
    while isinstance(expression, ast.Attribute):
        parts.insert(0, expression.attr)
        expression = expression.value
    if not isinstance(expression, ast.Name):
        return ""
    path = [*_imported(expression.id, module), *parts]
    for end in range(len(path) - 1, 0, -1):  # the longest part that is a module
        if _file_of(".".join(path[:end])) is not None:
            return f"{'.'.join(path[:end])}:{'.'.join(path[end:])}"
    return ""


def _imported(name: str, module: Module) -> list[str]:
    """What a name stands for, in full."""
    for statement in reversed(module.body):
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    return [*module.absolute(statement).split("."), alias.name]
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                if alias.asname == name:
                    return alias.name.split(".")
                if not alias.asname and alias.name.partition(".")[0] == name:
                    return [name]
    return [*module.name.split("."), name]
