"""Imports point one way (docs/architecture.md), wherever they stand: at the top, in a function, for the type checker.

The table is of packages: what stands to the left imports nothing to its right, and parts of one line do not know each
other. Within a package no module imports itself by way of others.
"""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
CORE = Path(find_spec("det_core").origin).parent

# The parts of det_core from left to right: packages, and the modules that lie beside them.
ORDER = [
    ["printable"],
    ["errors"],
    ["files", "plugins"],
    ["recipes"],
    ["zoo"],
    ["structures"],
    ["ops"],
    ["contracts"],
    ["backbones", "models", "weights", "data", "evaluation"],
    ["visual"],
    ["engine"],
    ["predict"],
    ["cli"],
]
RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts}
TORCH_FREE = {part for parts in ORDER[:5] for part in parts} | {"cli"}
HEAVY = {"torch", "torchvision", "numpy", "pydantic", "rich", "PIL", "pycocotools", "safetensors", "matplotlib"}


def part_of(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def imported(path: Path, root: Path, names: list[ast.AST]) -> Iterator[str]:
    """The dotted modules that the nodes import; `from package import module` gives "package.module" where it is one."""
    for node in names:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                place = root.parent / Path(*node.module.split("."), alias.name)
                is_module = place.with_suffix(".py").exists() or place.is_dir()
                yield f"{node.module}.{alias.name}" if is_module else node.module


def all_imports(path: Path, root: Path) -> set[str]:
    return set(imported(path, root, list(ast.walk(ast.parse(path.read_text())))))


def top_level_imports(path: Path) -> set[str]:
    """What is imported when the module is; functions and type-checking blocks are left out."""
    nodes: list[ast.AST] = []

    def visit(body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            nodes.append(node)
            if isinstance(node, ast.If | ast.Try):
                visit([*node.body, *node.orelse, *getattr(node, "finalbody", [])])

    visit(ast.parse(path.read_text()).body)
    return set(imported(path, CORE, nodes))


FILES = sorted(path for path in CORE.rglob("*.py") if path.parent != CORE or path.name != "__init__.py")


def test_every_part_of_core_has_a_rank():
    assert {part_of(path) for path in FILES} == set(RANK)
    assert len(FILES) > 10


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CORE)))
def test_module_imports_lower_ranks_only(path):
    here = part_of(path)
    for name in all_imports(path, CORE):
        if name.startswith("det_core."):
            there = name.split(".")[1]
            if there in RANK and there != here:
                assert RANK[there] < RANK[here], f"{here} imports {name}"


@pytest.mark.parametrize(
    "path", [p for p in FILES if part_of(p) in TORCH_FREE], ids=lambda path: str(path.relative_to(CORE))
)
def test_torch_free_half_imports_no_heavy_library(path):
    heavy = {name for name in top_level_imports(path) if name.split(".")[0] in HEAVY}
    assert not heavy


ROOTS = sorted(
    path.parent
    for folder in [*(REPOSITORY / "packages").glob("*/src"), *(REPOSITORY / "examples").glob("*/src")]
    for path in folder.glob("*/__init__.py")
)


@cache
def graph(root: Path) -> dict[str, set[str]]:
    """Module -> the modules of the same package that it imports, anywhere in its file."""
    files = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {
        name: {each for each in all_imports(path, root) if each in files and each != name}
        for name, path in files.items()
    }


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_no_module_imports_itself_by_way_of_others(root):
    modules = graph(root)
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            circle = " -> ".join((*trail[trail.index(name) :], name))
            raise AssertionError(f"a circle of imports: {circle}")
        if name not in done:
            for other in sorted(modules[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in sorted(modules):
        visit(name, ())


def test_imports_are_always_absolute():
    relative = [
        path
        for root in ROOTS
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative
