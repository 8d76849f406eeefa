"""The names that plugins and users may import of core, and its hooks, as the file beside this one lists them.

`python tests/test_public_names.py` writes the file anew, after a name was added, renamed or removed on purpose.
"""

import importlib
import pkgutil
from pathlib import Path

import det_core
from det_core.plugins import hooks

FILE = Path(__file__).parent / "public_names.txt"
# Commands are reached through `det`; what stands below these packages is imported from them.
CLOSED = ("det_core.cli",)


def public_names() -> list[str]:
    """Hooks, then "module: name" of every public package of core and of its loose modules."""
    lines = sorted(f"hook: {name}" for name in hooks.HOOKS.values())
    modules = ["det_core", *(f"det_core.{each.name}" for each in pkgutil.iter_modules(det_core.__path__))]
    for name in sorted(set(modules) - set(CLOSED)):
        if name.rpartition(".")[2].startswith("_"):
            continue
        module = importlib.import_module(name)
        lines += sorted(f"{name}: {each}" for each in getattr(module, "__all__", ()))
    return lines


def test_public_names_and_hooks_are_those_of_the_list() -> None:
    listed = FILE.read_text("utf-8").splitlines()
    found = public_names()
    assert sorted(set(listed) - set(found)) == [], "these were public; python tests/test_public_names.py if meant so"
    assert sorted(set(found) - set(listed)) == [], "these are new; python tests/test_public_names.py if meant so"


def test_public_names_can_all_be_imported() -> None:
    for line in public_names():
        module, _, name = line.partition(": ")
        if module != "hook":
            assert hasattr(importlib.import_module(module), name), line


if __name__ == "__main__":
    FILE.write_text("\n".join(public_names()) + "\n", "utf-8")
