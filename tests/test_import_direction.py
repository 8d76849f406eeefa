"""Imports point one way (docs/architecture.md): a module imports only what stands to its left."""

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

CORE = Path(find_spec("det_core").origin).parent

# Each line may import the lines above it, and its own module's submodules; parts of one line do not know each other.
LAYERS = [
    ["printable"],
    ["errors"],
    ["class_names", "hooks", "known", "watchdog", "zoo"],
    ["isolation"],
    ["plugins"],
    ["registry"],
    ["signatures"],
    ["construction", "jsonfile", "trust", "values", "versions", "yamlfile"],
    ["factory"],
    ["config"],
    ["overrides"],
    ["recipes"],
    ["probe"],
    ["builtin", "doctor", "importers", "published", "scaffold"],
    ["structures"],
    ["ops"],
    ["contracts"],
    ["backbones", "models", "weights", "data", "evaluation"],
    ["engine", "export", "visual"],
    ["result"],
    ["detector"],
    ["testing"],
    ["cli"],
]
TORCH_FREE = {part for layer in LAYERS[:14] for part in layer} | {"cli"}
HEAVY = {"torch", "torchvision", "numpy", "pydantic", "rich", "PIL", "pycocotools", "safetensors", "matplotlib"}
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}


def part_of(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def imports(path: Path, top_level_only: bool) -> list[str]:
    """The dotted modules that a file imports; type-checking blocks and functions are left out if `top_level_only`."""
    tree = ast.parse(path.read_text())
    nodes = []

    def visit(body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            nodes.append(node)
            if isinstance(node, ast.If | ast.Try):
                visit([*node.body, *node.orelse, *getattr(node, "finalbody", [])])

    visit(tree.body) if top_level_only else nodes.extend(ast.walk(tree))
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
            found += [f"{node.module}.{alias.name}" for alias in node.names if node.module == "det_core"]
    return found


FILES = sorted(path for path in CORE.rglob("*.py") if part_of(path) != "__init__")


def test_every_part_of_core_has_its_place_in_the_order():
    assert {part_of(path) for path in FILES} <= set(RANK)
    assert len(FILES) > 10


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CORE)))
def test_a_module_imports_only_what_stands_to_its_left(path):
    here = part_of(path)
    # The torch-free half may reach to the right lazily, inside a function; the other half never does.
    for name in imports(path, top_level_only=here in TORCH_FREE):
        if name.startswith("det_core."):
            there = name.split(".")[1]
            if there in RANK and there != here:
                assert RANK[there] < RANK[here], f"{here} imports {name}"


@pytest.mark.parametrize(
    "path", [p for p in FILES if part_of(p) in TORCH_FREE], ids=lambda path: str(path.relative_to(CORE))
)
def test_the_torch_free_half_imports_nothing_heavy_at_import_time(path):
    heavy = {name for name in imports(path, top_level_only=True) if name.split(".")[0] in HEAVY}
    assert not heavy


def test_imports_are_always_absolute():
    relative = [
        path
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative
