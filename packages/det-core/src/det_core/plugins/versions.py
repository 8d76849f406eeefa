"""Versions of the distributions that a recipe was written with, and errors where they are not installed.

The metadata in a file are untrusted: a package named in it may belong to anyone. Only packages that the project
itself publishes are recommended; for any other the message adds that only the file names it.
"""

import contextlib
import importlib.util
import re
import warnings
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from det_core.errors import DetWarning, UnknownNameError
from det_core.plugins import known, registry
from det_core.plugins.discovery import canonical

__all__ = ["require_present", "versions_of", "warn_of_others"]

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.!+_-]*")


def versions_of(tree: Any) -> dict[str, str]:
    """The versions of the distributions that a resolved tree names, and of those that everything stands on."""
    owners = metadata.packages_distributions()
    used = {"det-core", "torch", "torchvision"}
    for _, name in _types(tree, ""):
        used |= set(owners.get(_package(name), ())) if registry.is_import_path(name) else {name.partition("/")[0]}
    # A module of the user has no version.
    return {name: version for name in sorted(map(canonical, used)) if (version := _installed(name))}


def require_present(node: Any, versions: Mapping[str, Any] | None, path: str) -> None:
    """Raise UnknownNameError if a node needs a distribution that the recipe was written with and that is not here.

    Args:
        node: a section of the recipe; nothing that it names is imported.
        versions: those in the recipe; None or {} without any.
        path: the section's place, "model", which messages start with.
    """
    absent = {name: version for name, version in _read(versions).items() if not _installed(name)}
    if not absent:
        return
    for where, name in _types(node, path):
        if registry.is_import_path(name):
            package = canonical(_package(name))
            needed = [package] if package in absent else [] if _can_be_imported(_package(name)) else list(absent)
        else:
            needed = [each for each in [canonical(name.partition("/")[0])] if "/" in name and each in absent]
        if needed:
            listed = " and ".join(f"{each} {absent[each]}".rstrip() for each in needed)
            verb = "which is not installed" if len(needed) == 1 else "which are not installed"
            problem = f"this recipe was written with {listed}, {verb}"
            raise UnknownNameError(where, problem, fix=_advice({each: absent[each] for each in needed}))


def warn_of_others(versions: Mapping[str, Any] | None, source: str) -> None:
    """Warn once of distributions in another major or minor version than in the recipe."""
    differing = [
        f"{name} {was} (here {now})"
        for name, was in _read(versions).items()
        if was and (now := _installed(name)) and _series(was) != _series(now)
    ]
    if differing:
        message = f"{source}: was written with {', '.join(differing)}; its results may differ here"
        warnings.warn(message, DetWarning, stacklevel=2)


def _read(versions: Mapping[str, Any] | None) -> dict[str, str]:
    """Names and versions; a name that no distribution can have is left out, and a version that is none is ""."""
    by_name = {canonical(str(name)): str(version).strip() for name, version in (versions or {}).items()}
    return {
        name: version if _VERSION.fullmatch(version) and len(version) < 50 else ""
        for name, version in by_name.items()
        if _NAME.fullmatch(name) and len(name) < 100
    }


def _advice(needed: Mapping[str, str]) -> str:
    exact = " ".join(f"{name}=={version}" if version else name for name, version in needed.items())
    if all(name in known.PACKAGES for name in needed):
        return f"pip install {exact}"
    return f"this name comes from the recipe alone; if you trust its author: pip install {exact}"


def _installed(distribution: str) -> str:
    """The version that is installed; "" if none is."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(distribution)
    return ""


def _series(version: str) -> str:
    """Major and minor number of a version: "2.15.0+cpu" is "2.15"."""
    from packaging.version import InvalidVersion, Version

    try:
        release = Version(version).release
    except InvalidVersion:
        return version
    return f"{release[0]}.{release[1] if len(release) > 1 else 0}"


def _package(import_path: str) -> str:
    return import_path.partition(":")[0].partition(".")[0]


def _can_be_imported(package: str) -> bool:
    """Whether there is such a package; finding one of the top level runs none of its code."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ValueError, ImportError):
        return False


def _types(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """(where, name) of everything that a tree calls."""
    if isinstance(node, Mapping):
        if isinstance(node.get("type"), str):
            yield f"{path}.type", node["type"]
        for key, value in node.items():
            yield from _types(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from _types(item, f"{path}.{index}")
