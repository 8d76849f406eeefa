"""Finds the installed plugins and what they offer, without importing anything behind a name.

The loop over entry points is our own: one broken plugin is remembered and skipped instead of ending the program, and
two distributions that use the same entry-point name are both kept. `DET_DISABLE_PLUGINS`, distributions separated by
commas, switches plugins off before anything of theirs is imported.
"""

import contextlib
import difflib
import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Literal

import pluggy

from det_core import hooks

__all__ = ["DISABLE", "Catalog", "Plugin", "Status", "canonical", "catalog", "foreign_code"]

DISABLE = "DET_DISABLE_PLUGINS"
CORE = "det-core"
Status = Literal["active", "disabled", "incompatible", "broken"]

_KIND_OF = {hook: kind for kind, hook in hooks.HOOKS.items()}
_NAME = re.compile(r"[^\s:]+")
_TARGET = re.compile(r"[\w.]+:[\w.]+")
_FILE = re.compile(r"[\w.]+:[^:]+")


@dataclass(frozen=True)
class Plugin:
    """One plugin of one installed distribution.

    Attributes:
        module: the entry point's value, "package.module" as a rule.
        status: "active"; "disabled" by the environment; "incompatible" with this core; "broken": cannot be imported.
        components: kind -> name -> target; what an active plugin offers.
        problems: what is wrong with it, a sentence each; an active plugin may have some too.
    """

    distribution: str
    version: str
    module: str
    status: Status = "active"
    components: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def problem(self) -> str:
        """All that is wrong with it in one line; "" where nothing is."""
        return "; ".join(self.problems)


@dataclass(frozen=True)
class Catalog:
    """What was found, by the names of the distributions, so that the order of installation never matters."""

    plugins: tuple[Plugin, ...]
    strays: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that somebody should mend, a sentence each; a plugin that was switched off is none."""
        of_plugins = (
            f"{plugin.distribution} {plugin.version}: {problem}"
            for plugin in self.plugins
            if plugin.status != "disabled"
            for problem in plugin.problems
        )
        return (*self.strays, *of_plugins)


_found: Catalog | None = None


def catalog(refresh: bool = False) -> Catalog:
    """What is installed. Found once in a process; `refresh` looks again."""
    global _found
    if _found is None or refresh:
        importlib.invalidate_caches()
        _found = _discover()
    return _found


def canonical(distribution: str) -> str:
    """A distribution's name in its one normal form (PEP 503): "Det_Acme" is "det-acme"."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


@contextlib.contextmanager
def foreign_code() -> Iterator[None]:
    """While code that is not ours is imported: what it prints goes to stderr, an exit of its becomes an error."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise RuntimeError(f"tried to end the program: {type(error).__name__}: {error}") from error


def _discover() -> Catalog:
    switched_off = {canonical(name.strip()) for name in os.environ.get(DISABLE, "").split(",") if name.strip()}
    found: list[Plugin] = []
    strays: list[str] = []
    first: dict[str, str] = {}
    for distribution, points in _with_entry_points(strays):
        name, version = canonical(distribution.metadata["Name"]), distribution.version
        if name in first:
            # The same distribution again, further down sys.path: Python imports the first, so the first is the plugin.
            if version != first[name]:
                strays.append(f"{name}: is installed twice; {first[name]} is used, {version} is hidden behind it")
            continue
        first[name] = version
        found += [_inspect(distribution, name, point, name in switched_off) for point in points]
    if CORE not in first:
        strays.append(
            f"{CORE}: is not installed as a distribution, so its own components cannot be found; pip install it"
        )
    return Catalog(tuple(sorted(found, key=lambda plugin: (plugin.distribution, plugin.module))), tuple(strays))


def _with_entry_points(strays: list[str]) -> Iterator[tuple[metadata.Distribution, list[metadata.EntryPoint]]]:
    """The distributions that have entry points in our group. The text is looked at first: parsing all takes long."""
    for distribution in metadata.distributions():
        try:
            if f"[{hooks.GROUP}]" not in (distribution.read_text("entry_points.txt") or ""):
                continue
            points = sorted(distribution.entry_points.select(group=hooks.GROUP), key=lambda point: point.name)
            if not (distribution.metadata["Name"] and distribution.version):
                raise ValueError("it has no name or no version")
        except Exception as error:
            # A file that cannot be decoded, metadata without a name: what an interrupted installation leaves behind.
            place = getattr(distribution, "_path", "an installed distribution")
            strays.append(f"{place}: its metadata cannot be read ({_brief(error)}); install it again")
            continue
        if points:
            yield distribution, points


def _inspect(distribution: metadata.Distribution, name: str, point: metadata.EntryPoint, switched_off: bool) -> Plugin:
    plugin = Plugin(name, distribution.version, point.value)
    if switched_off:
        return _with(plugin, "disabled", f"switched off by {DISABLE}")
    if misfit := _misfit(distribution):
        return _with(plugin, "incompatible", misfit)
    torch_was_there = "torch" in sys.modules
    try:
        with foreign_code():
            module = point.load()
    except Exception as error:
        return _with(plugin, "broken", f"cannot be imported: {_brief(error)}")
    manager = pluggy.PluginManager(hooks.GROUP)
    manager.add_hookspecs(hooks)
    try:
        with foreign_code():
            manager.register(module, name=name)
    except Exception as error:
        return _with(plugin, "broken", f"cannot be registered: {_brief(error)}")
    problems: list[str] = []
    components = _offers(manager, module, problems)
    if "torch" in sys.modules and not torch_was_there:
        problems.append(f"{point.value} imports torch to be listed; name components as text and import nothing there")
    return Plugin(name, distribution.version, point.value, "active", components, tuple(problems))


def _with(plugin: Plugin, status: Status, problem: str) -> Plugin:
    return Plugin(plugin.distribution, plugin.version, plugin.module, status, problems=(problem,))


def _misfit(distribution: metadata.Distribution) -> str:
    """Why the plugin cannot be used with this core, from its own Requires-Dist; "" where it can."""
    wanted = [text for text in distribution.requires or () if re.match(r"det[-_.]+core", text, re.IGNORECASE)]
    if not wanted:
        return ""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        installed = metadata.version(CORE)
    except metadata.PackageNotFoundError:
        return ""  # told by _discover
    for text in wanted:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            return f"its requirement {text!r} cannot be read"
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if (
            canonical(requirement.name) == CORE
            and applies
            and not requirement.specifier.contains(installed, prereleases=True)
        ):
            return f"needs {CORE}{requirement.specifier}, but {installed} is installed"
    return ""


def _offers(manager: pluggy.PluginManager, module: Any, problems: list[str]) -> dict[str, dict[str, str]]:
    """What each hook of one plugin returns, each called by itself so that one that raises takes none with it."""
    components: dict[str, dict[str, str]] = {}
    for caller in manager.get_hookcallers(module) or ():
        kind = _KIND_OF.get(caller.name)
        if kind is None:
            near = difflib.get_close_matches(caller.name, _KIND_OF, 1)
            problems.append(f"det has no hook {caller.name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
            continue
        for implementation in caller.get_hookimpls():
            try:
                with foreign_code():
                    offered = implementation.function()
                    items = list(offered.items()) if isinstance(offered, Mapping) else None
            except Exception as error:
                problems.append(f"{caller.name} raises {_brief(error)}")
                continue
            if items is None:
                problems.append(
                    f'{caller.name} must return {{"name": "package.module:attribute"}}, not {offered!r:.80}'
                )
                continue
            components[kind] = _well_formed(kind, items, problems)
    problems += _unmarked(module)
    return components


def _well_formed(kind: str, items: list[tuple[Any, Any]], problems: list[str]) -> dict[str, str]:
    form, pattern = ("package:folder/file.yaml", _FILE) if kind == "recipes" else ("package.module:attribute", _TARGET)
    good = {}
    for name, target in items:
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            problems.append(
                f"{hooks.HOOKS[kind]} offers the name {name!r:.80}; a name is text without spaces and colons"
            )
        elif not (isinstance(target, str) and pattern.fullmatch(target)):
            problems.append(f'{hooks.HOOKS[kind]} offers {name!r} as {target!r:.80}; a target reads "{form}"')
        else:
            good[name] = target
    return good


def _unmarked(module: Any) -> list[str]:
    """Functions that look like hooks and lack the mark, which pluggy passes over in silence."""
    here = getattr(module, "__name__", "")
    own = {name: value for name, value in vars(module).items() if name in _KIND_OF} if here else {}
    return [
        f"{name} is not marked with @hookimpl, so it is not used"
        for name, value in own.items()
        if getattr(value, "__module__", "") == here and not hasattr(value, f"{hooks.GROUP}_impl")
    ]


def _brief(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
