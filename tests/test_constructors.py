"""Constructors take at most twelve arguments: what belongs together is a part."""

import ast
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parent.parent / "packages"
MOST = 12


def constructors(text):
    """(class, number of arguments) of every constructor that is written out, without `self`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            for function in node.body:
                if isinstance(function, ast.FunctionDef) and function.name == "__init__":
                    given = function.args
                    yield node.name, len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs) - 1


@pytest.mark.parametrize("package", sorted(path.name for path in PACKAGES.iterdir() if (path / "src").is_dir()))
def test_constructor_has_at_most_twelve_arguments(package):
    # Constructors of the layer have Detectron2's arguments.
    layer = PACKAGES / "det-detectron2/src/det_detectron2/layer"
    files = [file for file in sorted((PACKAGES / package / "src").rglob("*.py")) if layer not in file.parents]
    assert files
    long = [(name, count) for file in files for name, count in constructors(file.read_text()) if count > MOST]
    assert not long


def test_constructors_are_counted_without_self():
    text = "class A:\n    def __init__(self, a, b=1, *, c): ...\n    def other(self, x): ..."
    assert list(constructors(text)) == [("A", 3)]


def test_models_do_not_compare_exact_types():
    folder = PACKAGES / "det-core" / "src" / "det_core" / "models"
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is | ast.Eq | ast.IsNot | ast.NotEq):
                called = node.left
                exact = isinstance(called, ast.Call) and isinstance(called.func, ast.Name) and called.func.id == "type"
                assert not exact, f"{file}:{node.lineno}"
    assert len((folder / "heads" / "rpn.py").read_text().splitlines()) < 210
