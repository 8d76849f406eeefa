"""Renders the templates: those of every package, and those of each kind of component."""

import datetime
from collections.abc import Iterable, Mapping
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from det_core.errors import ConfigError
from det_core.plugins import CORE
from det_core.plugins.hooks import HOOKS

from det_devkit.scaffold.names import Names, check_name

__all__ = ["KINDS", "new_plugin"]

# Kinds of components, with their description in the README.
KINDS: Mapping[str, str] = {
    "backbone": "a small convolutional network with four levels",
    "head": "a region head that predicts how well each box fits its object",
    "model": "a one-stage detector on any backbone, with its losses and its decoding",
    "dataset": "a folder of images with one table of boxes, `boxes.csv`",
    "evaluator": "how well the objects of each image are counted",
    "exporter": "a file of another format for every model that can be traced, and how it is run again",
}
# An exporter needs a traceable model for its tests.
_NEEDS: Mapping[str, tuple[str, ...]] = {"exporter": ("model",)}
# Beside core: kind, distributions.
_REQUIRES: Mapping[str, tuple[str, ...]] = {"exporter": ("det-export",)}

# Template: file.
_COMMON: Mapping[str, str] = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "LICENSE": "LICENSE",
    "gitignore": ".gitignore",
    "ci.yml": ".github/workflows/ci.yml",
    "init.py": "src/$module/__init__.py",
    "plugin.py": "src/$module/plugin.py",
    "py.typed": "src/$module/py.typed",
    "tiny_data.py": "tests/tiny_data.py",
    "test_plugin.py": "tests/test_plugin.py",
    "test_conformance.py": "tests/test_conformance.py",
}
_OF_A_KIND: Mapping[str, str] = {
    "component.py": "src/$module/$kind.py",
    "recipe.yaml": "src/$module/recipes/${prefix}_$kind.yaml",
    "test.py": "tests/test_$kind.py",
}


def new_plugin(name: str, kinds: Iterable[str] = (), folder: Path | None = None) -> tuple[Path, ...]:
    """Write the package of a working plugin; returns the files, in order.

    Args:
        name: distribution name, "det-acme"; normalized before use.
        kinds: kinds of components, of KINDS; a backbone by default.
        folder: output folder, new or empty; by default the name, in the current folder.

    Raises:
        ConfigError: the name is invalid or taken, or the folder cannot be written or is not empty.
    """
    names = check_name(name)
    requested = set(kinds) or {"backbone"}
    requested |= {other_kind for kind in requested for other_kind in _NEEDS.get(kind, ())}
    selected = [kind for kind in KINDS if kind in requested]
    folder = Path(names.distribution) if folder is None else folder
    files = _rendered(names, selected)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            fix = "name another with --output, or remove it"
            raise ConfigError(str(folder), "is there already and is not an empty folder", fix=fix)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(folder), "cannot be written", error.strerror or str(error)) from error
    return tuple(folder / path for path in files)


def _rendered(names: Names, kinds: list[str]) -> dict[str, str]:
    """The text of every file, by its path in the package."""
    values = {**vars(names), "core": _bounds(metadata.version(CORE)), "year": str(datetime.date.today().year)}
    of_kinds = {
        kind: {**values, "kind": kind, "kind_class": kind.title(), "summary": KINDS[kind], "hook": HOOKS[f"{kind}s"]}
        for kind in kinds
    }

    def for_each(part: str) -> str:
        """A part of a file for each kind: the template of the kind, or else the common one."""
        templates = {kind: f"{kind}/{part}" if _file(f"{kind}/{part}").is_file() else part for kind in kinds}
        return "".join(_render(templates[kind], of_kinds[kind]) for kind in kinds if _file(templates[kind]).is_file())

    examples = for_each("part_example.py")
    with_recipe = [kind for kind in kinds if _file(f"{kind}/recipe.yaml").is_file()]
    values |= {
        "needed": "".join(f', "{each}{values["core"]}"' for kind in kinds for each in _REQUIRES.get(kind, ())),
        "hooks": for_each("part_hook.py"),
        "hook_names": ", ".join(f"`{HOOKS[f'{kind}s']}`" for kind in kinds),
        "recipe_lines": "".join(_render("part_recipe_line.py", of_kinds[kind]) for kind in with_recipe),
        "recipe": f"{names.prefix}_{with_recipe[0]}",
        "offers": for_each("part_offer.md"),
        "offers_tested": for_each("part_offer.py"),
        "imports": for_each("part_import.py"),
        "examples": f"    examples={{\n{examples}    }},\n" if examples else "",
    }
    files = {target: _render(template, values) for template, target in _COMMON.items()}
    for kind in kinds:
        for template, target in _OF_A_KIND.items():
            if _file(f"{kind}/{template}").is_file():
                files[Template(target).substitute(of_kinds[kind])] = _render(f"{kind}/{template}", of_kinds[kind])
    return {Template(path).substitute(values): text for path, text in files.items()}


def _render(template: str, values: Mapping[str, str]) -> str:
    return Template(_file(template).read_text(encoding="utf-8")).substitute(values)


def _file(template: str) -> Traversable:
    return resources.files("det_devkit.scaffold") / "templates" / f"{template}.tmpl"


def _bounds(version: str) -> str:
    """The versions of core that a plugin written against `version` supports: "0.1.4" gives ">=0.1,<0.3"."""
    from packaging.version import Version

    running = Version(version)
    lowest = str(running) if running.is_prerelease else f"{running.major}.{running.minor}"
    if running.major:
        return f">={lowest},<{running.major + 1}"
    # The first versions up to 0.3 are compatible; from there on each minor version may change the plugin interface.
    return f">={lowest},<0.{max(running.minor + 1, 3)}"
