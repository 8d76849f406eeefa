"""Packages import core and what they declare, core imports no plugin, and no package imports in a circle."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

PACKAGES = {path.parent.name: path.parent for path in Path(__file__).parents[1].glob("packages/*/pyproject.toml")}


def modules(package: str) -> dict[str, Path]:
    """The modules of a package, by their dotted names."""
    source = PACKAGES[package] / "src"
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        if "templates" not in parts:
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> set[str]:
    """The dotted names that a module imports when it runs, inside functions too; not those for the type checker."""
    names: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text("utf-8")))
    return names


def declared(package: str, testing: bool = False) -> set[str]:
    """The packages of this repository that a package requires, itself and its extras included.

    Args:
        package: its name.
        testing: for a module that only the conformance kit imports; `test` is an extra like others then.
    """
    project = tomllib.loads((PACKAGES[package] / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {})
    lines = [
        *project["dependencies"],
        *(line for name, own in extras.items() if testing or name != "test" for line in own),
    ]
    return {package} | {re.split(r"[\[<>=~! ;]", line, maxsplit=1)[0] for line in lines} & PACKAGES.keys()


def graph(package: str) -> dict[str, set[str]]:
    """Which of its own modules each module of a package imports."""
    own = modules(package)
    edges = {}
    for name, path in own.items():
        targets = {target if target in own else target.rpartition(".")[0] for target in imports(path)}
        edges[name] = (targets & own.keys()) - {name}
    return edges


def circle(edges: dict[str, set[str]]) -> list[str]:
    """The modules of one circle, [] if there is none."""
    done: set[str] = set()

    def search(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return trail[trail.index(name) :]
        if name in done:
            return []
        for target in sorted(edges[name]):
            if found := search(target, [*trail, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(edges) if (found := search(name, []))), [])


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_package_imports_itself_core_and_dependencies_only(package: str) -> None:
    ours = {name.replace("-", "_") for name in PACKAGES}
    wrong = set()
    for module, path in modules(package).items():
        allowed = {name.replace("-", "_") for name in declared(package, module.endswith(".testing"))}
        found = {target for target in imports(path) if target.partition(".")[0] in ours - allowed}
        wrong |= {(module, target) for target in found}
    assert not wrong


def test_circle_of_two_modules_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


# The order inside core is held by test_import_direction.py.
@pytest.mark.parametrize("package", sorted(PACKAGES.keys() - {"det-core"}))
def test_package_imports_in_no_circle_not_even_inside_functions(package: str) -> None:
    assert circle(graph(package)) == []
