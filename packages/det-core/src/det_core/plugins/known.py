"""The plugins that the project itself publishes, by the names they bring: the only packages an error may recommend."""

import importlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from det_core.errors import MissingExtraError

__all__ = [
    "COMMANDS",
    "FUNCTIONS",
    "PACKAGES",
    "WRITERS",
    "function",
    "hint",
    "provider",
    "reader",
]

_TABLES: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("known.json").read_text("utf-8"))

PACKAGES: Mapping[str, Sequence[str]] = _TABLES["components"]
"""Package -> patterns of names of components and recipes, in lower case; the first package that fits is recommended."""

COMMANDS: Mapping[str, str] = _TABLES["commands"]
"""Command, of one or two words, or option of a command -> package."""

WRITERS: Mapping[str, str] = _TABLES["writers"]
"""Writer of `det predict --save` -> package."""

FUNCTIONS: Mapping[str, str] = _TABLES["functions"]
"""Method or option of core -> function of another package that it calls."""


def provider(name: str, kind: str = "") -> str:
    """The package that would bring `name`, short or qualified; "" if none is known to."""
    if kind in ("commands", "writers"):
        return (COMMANDS if kind == "commands" else WRITERS).get(name, "")
    if kind == "importers":
        return "det-detectron2" if name.startswith("detectron2") else ""
    distribution, _, rest = name.lower().partition("/")
    if distribution in PACKAGES:
        return distribution
    name = rest if distribution == "det-core" else name.lower()
    return next((package for package, forms in PACKAGES.items() if any(fnmatchcase(name, form) for form in forms)), "")


def reader(kind: str, name: str) -> str:
    """The package that alone reads a name of this kind, such as an extension of its importer; "" if core does."""
    if kind == "importers":
        return "det-detectron2" if name.startswith("detectron2.") else ""
    return "det-devkit" if kind == "conformance" else ""


def function(method: str) -> Any:
    """The function behind a method of core; raises MissingExtraError where its package is not installed."""
    module, _, name = FUNCTIONS[method].partition(":")
    package = module.partition(".")[0].replace("_", "-")
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise MissingExtraError(method, f"needs {package}, which is not installed", fix=hint(package))
    return getattr(importlib.import_module(module), name)


def hint(package: str) -> str:
    """How to get a package of this project, for the end of an error; "" for no package.

    Its wheels lie in a folder, built as README.md describes: the names are not registered in a package index.
    """
    return f"{package} would provide it: pip install {package} --find-links WHEELS" if package else ""
