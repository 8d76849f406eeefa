"""From the name of a component to the callable behind it.

A name is short ("resnet"), qualified with its distribution ("det-core/resnet"), or an import path
("my_lab.nets:MyNet"), which needs no plugin. Two plugins may offer one short name; that is an error only when the short
name is used.
"""

import difflib
import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from det_safeload.watchdog import Stop

from det_core.errors import DetError, PluginError, UnknownNameError
from det_core.plugins import known
from det_core.plugins.discovery import canonical, catalog
from det_core.plugins.hooks import COMPONENTS
from det_core.printable import described

__all__ = [
    "Component",
    "components",
    "did_you_mean",
    "find",
    "import_target",
    "is_import_path",
    "matches",
    "parse_import_path",
    "same",
]

_IMPORT_PATH = re.compile(
    r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<attribute>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)", re.ASCII
)


@dataclass(frozen=True)
class Component:
    """A name and its target; for an import path, `name` is the path and `distribution` is ""."""

    kind: str
    name: str
    distribution: str
    target: str

    @property
    def qualified(self) -> str:
        """The unambiguous name."""
        return f"{self.distribution}/{self.name}" if self.distribution else self.name

    def load(self, where: str = "") -> Callable[..., Any]:
        """Import the target, for the place `where` in a recipe; PluginError or UnknownNameError if that fails."""
        target = self.resolve(where)
        if not callable(target):
            raise PluginError(where or self.qualified, f"{self.target!r} cannot be called")
        loaded: Callable[..., Any] = target
        return loaded

    def resolve(self, where: str = "") -> Any:
        """Import the target, callable or not; errors as of `load`."""
        return import_target(self.target, where or self.qualified)


def components(kind: str | None = None) -> list[Component]:
    """All that active plugins offer of one kind, or of all kinds that a recipe can build."""
    kinds = [kind] if kind else COMPONENTS
    return [
        Component(kind, name, plugin.distribution, target)
        for plugin in catalog().plugins
        for kind in kinds
        for name, target in sorted(plugin.components.get(kind, {}).items())
    ]


def find(kind: str | None, name: str, where: str = "") -> Component:
    """The component of a name; raises UnknownNameError if there is none, or if a short name is offered twice.

    Args:
        kind: one of hooks.HOOKS; None searches hooks.COMPONENTS, for a parameter that has no contract.
        name: short, qualified or an import path.
        where: the place in a recipe that asks, to start the message with.
    """
    if is_import_path(name) and kind != "recipes":
        return Component(kind or "", name, "", ":".join(parse_import_path(name, where or name)))
    offered = components(kind)
    candidates = matches(offered, name)
    if len(candidates) == 1:
        return candidates[0]
    what = (kind[:-1] if kind.endswith("s") else kind) if kind else "component"
    if candidates:
        choices = [repr(component.qualified) for component in candidates]
        if len(set(choices)) == 1:  # one distribution with two plugins, or one name of two kinds
            choices = [repr(component.target) for component in candidates]
        problem = f"{name!r} means several things" if where else "means several things"
        raise UnknownNameError(where or f"{what} {name!r}", problem, fix=f"write {' or '.join(choices)}")
    problem = f"there is no {what} named {name!r}" if where else "is not known"
    if kind == "recipes" and not where and "/" in name:
        where, problem = name, "is no file or folder that is there, and no name of a recipe"
    raise UnknownNameError(where or f"{what} {name!r}", problem, *_advice(kind, name, offered))


def matches(offered: Iterable[Component], name: str) -> list[Component]:
    """Those that a name means, short or qualified; none for an import path.

    A qualified name comes first, so that no plugin can take another's by offering it as a short one; last comes one
    that no plugin has now, but one lists as an earlier name.
    """
    distribution, _, short = name.partition("/")
    offered, qualified = list(offered), f"{canonical(distribution)}/{short}"
    candidates = [component for component in offered if component.qualified == qualified]
    candidates = candidates or [component for component in offered if component.name == name]
    if not candidates and (today := catalog().moved(qualified)):
        candidates = [component for component in offered if component.qualified == today]
    return candidates


def _advice(kind: str | None, name: str, offered: list[Component]) -> tuple[str, str]:
    """Plugins that are not in use, and a suggestion."""
    idle = [plugin for plugin in catalog().plugins if plugin.problems]
    detail = ""
    if idle or catalog().environment_issues:
        reasons = [f"{plugin.distribution} {plugin.version} ({plugin.problem})" for plugin in idle]
        detail = "not in use: " + ", ".join([*reasons, *map(str, catalog().environment_issues)])
    near = did_you_mean(name, [c.name for c in offered])
    near = near or did_you_mean(name, [c.qualified for c in offered] if "/" in name else [])
    path = "" if kind == "recipes" else "; an import path reads 'package.module:attribute'"
    listed = f"`det {'recipes' if kind == 'recipes' else 'plugins'}` lists what is installed{path}"
    return detail, _from_package(name, kind or "") or near or listed


def _from_package(name: str, kind: str = "") -> str:
    """How to get the package that would bring a name; "" where none is known to, or it is there."""
    package = known.provider(name, kind)
    return known.hint(package) if package not in {plugin.distribution for plugin in catalog().plugins} else ""


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A question with up to three near names, or ""."""
    by_lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(name.lower(), by_lower, 3, 0.6)
    return f"did you mean {' or '.join(repr(by_lower[choice]) for choice in near)}?" if near else ""


def is_import_path(name: str) -> bool:
    """Whether a name reads "package.module:attribute"."""
    return ":" in name


def parse_import_path(name: str, where: str = "") -> tuple[str, str]:
    """The module and the attribute of "package.module:attribute"; UnknownNameError for anything else.

    Every import path goes through here, so that the check of a name and its import agree.
    """
    match = _IMPORT_PATH.fullmatch(name)
    if match is None:
        fix = "one reads 'package.module:attribute'"
        raise UnknownNameError(where or name, f"{name!r} is not an import path", fix=fix)
    return match["module"], match["attribute"]


def same(first: str, second: str) -> bool:
    """Whether two names mean one component ("resnet" and "det-core/resnet"), as far as is known without a kind."""

    def targets(name: str) -> set[str]:
        return {name} if is_import_path(name) else {component.target for component in matches(components(), name)}

    return first == second or bool(targets(first) & targets(second))


def import_target(target: str, where: str = "") -> Any:
    """The attribute that "package.module:attribute" names; `where` is the place that asks for it."""
    where = where or target
    module_name, attribute = parse_import_path(target, where)
    with _importing(module_name, where, target):
        value: Any = importlib.import_module(module_name)
    for part in attribute.split("."):
        with _importing(module_name, where, target):  # a module may import lazily
            there = hasattr(value, part)
        if not there:
            public = [each for each in dir(value) if not each.startswith("_")]
            fix = _from_package(target) or did_you_mean(part, public)
            raise UnknownNameError(where, f"{module_name!r} has no {attribute!r}", fix=fix)
        value = getattr(value, part)
        if isinstance(value, ModuleType):
            fix = f"write '{value.__name__}:...'"
            raise UnknownNameError(where, f"{target!r} leads through the module {value.__name__!r}", fix=fix)
    return value


@contextmanager
def _importing(module_name: str, where: str, target: str) -> Iterator[None]:
    """Turns any exception of an import into an error of det."""
    problem = f"{module_name!r} cannot be imported"
    try:
        yield
    except DetError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            fix = _from_package(target) or "is its package installed, or its folder on PYTHONPATH?"
            raise UnknownNameError(where, f"there is no module {error.name!r}", fix=fix) from error
        raise PluginError(where, problem, f"it needs the module {error.name!r}, which is missing") from error
    except (KeyboardInterrupt, Stop):
        raise
    except BaseException as error:  # an exit, or something of its own: a module ends no command
        raise PluginError(where, problem, described(error)) from error
