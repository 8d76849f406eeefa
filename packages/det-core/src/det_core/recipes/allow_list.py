"""The names that a recipe may use, and the import of their objects, after the check.

A recipe is *untrusted* where it came inside a file, as in a checkpoint: it may name what installed plugins offer
through their hooks, of the kinds that belong to the place, and what they list as `SAFE_PARTS`; nothing else, in no
spelling.
A recipe of the user may also name their own code, "my_lab.nets:MyNet". Python's library, torch and
the other libraries that det stands on are closed to both beyond the lists: they read files and run programs.
"""

import functools
import importlib.util
import sys
import sysconfig
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from det_core.errors import ConfigError, DetError, PluginError, UntrustedError
from det_core.plugins import catalog, registry
from det_core.plugins.hooks import COMPONENTS
from det_core.recipes import moved

__all__ = ["ANYTHING", "DEFAULT", "AllowList", "listed", "untrusted"]

_OURS = ("det_core", "det_safeload")
_LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "PIL",
    "yaml",
    "safetensors",
    "pluggy",
    "pydantic",
    "rich",
    "pycocotools",
)
_TOOLS = ("click", "packaging", "pip", "setuptools", "pkg_resources", "pytest", "_pytest")
# Modules of core and its requirements beside the lists.
_CLOSED = frozenset((*_OURS, *_LIBRARIES, *_TOOLS))
_FIX = "name a component, or a class of torch.nn, torch.optim or torchvision.transforms.v2"
_TRUST = "if you know who made the file, give --trust (in Python trust=True)"


@dataclass(frozen=True)
class AllowList:
    """Which names may stand in one section of a recipe.

    Attributes:
        kinds: kinds of components offered through hooks.
        user_code: whether code of the user's own may be named.
        all: whether nothing is refused: of defaults, which stand in code and not in a recipe.
    """

    kinds: Collection[str] = COMPONENTS
    user_code: bool = True
    all: bool = False

    def component(self, kind: str | None, name: str, where: str) -> tuple[Any, str]:
        """The target of a `type`, and its qualified name.

        Raises:
            UntrustedError: it may not stand here.
            UnknownNameError: nothing has the name, or several things have.
            PluginError: it cannot be imported.
        """
        if registry.is_import_path(name):
            target = self.reference(name, where)
            if not callable(target):
                raise PluginError(where, f"{name!r} cannot be called")
            return target, _current(name, where)
        component = registry.find(kind, name, where)
        if component.kind not in self.kinds and not self.all:
            raise self._refusal(name, where)
        return component.load(where), component.qualified

    def reference(self, name: str, where: str) -> Any:
        """The object that an import path names; errors as of `component`."""
        target = _current(name, where)
        module, _, attribute = target.partition(":")
        root, kinds = module.partition(".")[0], listed()
        if self.all or kinds.get(target, "none") in ("", *self.kinds):
            return registry.import_target(target, where)
        if self.user_code and not _is_closed(root) and not any(part.startswith("_") for part in attribute.split(".")):
            value = registry.import_target(target, where)
            if not callable(value) or not _is_closed(_home(value)) or self._is_listed(value):
                return value
        elif (value := _in_memory(module, attribute)) is not None and self._is_listed(value):
            return value
        raise self._refusal(name, where)

    def require(self, implied: type, where: str) -> None:
        """Raise UntrustedError unless a class that an annotation implies may be built.

        The annotation is that of a part which was checked before, and the recipe has no choice there: classes of
        installed plugins need not be on the list.
        """
        if not (self.all or self.user_code or _home(implied) in _roots() or self._is_listed(implied)):
            raise self._refusal(f"{implied.__module__}:{implied.__qualname__}", where)

    def _is_listed(self, value: Any) -> bool:
        """Whether this very object is on the list, under any name."""
        root = _home(value)
        return any(each is value for each in _objects(root, ("", *self.kinds)))

    def _refusal(self, name: str, where: str) -> ConfigError:
        if self.user_code:
            return ConfigError(where, f"{name!r} is not something that a recipe may call", fix=_FIX)
        problem = f"{name!r} is offered by no installed plugin, nor among the parts that one lists as safe"
        return UntrustedError(where, problem, fix=_TRUST)


DEFAULT = AllowList()
"""For recipes that the user names, and those of plugins."""

ANYTHING = AllowList(all=True)
"""For defaults of signatures, which are code."""

_UNTRUSTED: Mapping[str, AllowList] = {
    "model": AllowList(("backbones", "heads", "models"), user_code=False),
    "data": AllowList(("datasets", "evaluators"), user_code=False),
}
_PARTS_ALONE = AllowList((), user_code=False)


def untrusted(section: str) -> AllowList:
    """The allow list of an untrusted recipe in a section; "data.eval_transforms" holds parts, and no dataset."""
    return _UNTRUSTED.get(section, _PARTS_ALONE)


def listed() -> dict[str, str]:
    """Every import path on the list: with the kind of component that it is, or "" of a safe part."""
    kinds = {each.target: each.kind for each in registry.components()}
    return kinds | {path: "" for plugin in catalog().plugins for path in plugin.safe_parts if path not in kinds}


def _current(name: str, where: str) -> str:
    """An import path with the module that holds the object today; UnknownNameError if it is none."""
    return moved.current(":".join(registry.parse_import_path(name, where)))


def _objects(root: str, kinds: Collection[str]) -> Iterator[Any]:
    """The listed objects of one package."""
    for path, kind in listed().items():
        if kind in kinds and path.partition(":")[0].partition(".")[0] == root:
            try:
                yield registry.import_target(path)
            except DetError:
                continue  # reported where it is used


def _roots() -> set[str]:
    """The top-level packages of the active plugins."""
    return {plugin.module.partition(".")[0] for plugin in catalog().plugins if plugin.status == "active"}


def _in_memory(module: str, attribute: str) -> Any:
    """An attribute of a module that is imported already, without running its code; else None."""
    return vars(sys.modules[module]).get(attribute) if module in sys.modules else None


def _home(value: Any) -> str:
    """The package in which an object was written."""
    while isinstance(value, functools.partial):
        value = value.func
    return str(getattr(value, "__module__", None) or "builtins").partition(".")[0]


@functools.cache
def _is_closed(root: str) -> bool:
    """Whether a top-level module belongs to Python or to the libraries of core; nothing of it is run."""
    if root in _CLOSED or root in sys.stdlib_module_names or root in sys.builtin_module_names:
        return True
    try:
        spec = importlib.util.find_spec(root)
    except (ValueError, ImportError):
        return False
    place = Path(spec.origin) if spec and spec.origin else None
    library = Path(sysconfig.get_path("stdlib"))
    return place is not None and library in place.parents and not {"site-packages", "dist-packages"} & {*place.parts}
