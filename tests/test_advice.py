"""Advice in errors is for users of the commands, who write options: arguments in Python stand beside them."""

import ast
import re
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parent.parent / "packages"
PYTHON = re.compile(r"\b[a-z_]+=(True|False|None|[A-Z]+)\b")


def advice(text):
    """(line, text) of each constant string that is a `fix` or is assigned to one."""
    for node in ast.walk(ast.parse(text)):
        named = isinstance(node, ast.keyword) and node.arg == "fix"
        assigned = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "fix"
        for part in ast.walk(node.value) if named or assigned else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.lineno, part.value


def test_advice_of_python_alone_detected():
    assert list(advice('Error("a", fix="give trust=True")')) == [(1, "give trust=True")]
    assert PYTHON.search("give trust=True")
    assert not PYTHON.search("set train.steps to 5")


@pytest.mark.parametrize("package", sorted(path.name for path in PACKAGES.iterdir() if (path / "src").is_dir()))
def test_advice_with_python_argument_has_option(package):
    files = sorted((PACKAGES / package / "src").rglob("*.py"))
    texts = [(f"{file.name}:{line}", text) for file in files for line, text in advice(file.read_text("utf-8"))]
    assert texts or package in ("det-tensormask", "det-tridentnet")
    assert not [each for each in texts if PYTHON.search(each[1]) and "--" not in each[1]]
