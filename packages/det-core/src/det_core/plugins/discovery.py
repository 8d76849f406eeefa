"""Finds the installed plugins and what they offer, without importing anything behind a name.

The loop over entry points is our own: one broken plugin is remembered and skipped instead of ending the program, and
two distributions that use the same entry-point name are both kept. `DET_DISABLE_PLUGINS`, distributions separated by
commas, switches plugins off before anything of theirs is imported. A plugin may take `DET_PLUGIN_TIMEOUT` seconds to be
imported, 10 if it is not set; 0 is for ever.
"""

import contextlib
import difflib
import importlib
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from types import ModuleType
from typing import Any, Literal, NamedTuple

import pluggy

from det_core.plugins import hooks
from det_core.plugins.watchdog import TimeLimitError, Watchdog

__all__ = [
    "CORE",
    "DISABLE",
    "TIMEOUT",
    "Catalog",
    "Finding",
    "Plugin",
    "Status",
    "canonical",
    "catalog",
    "foreign_code",
]

DISABLE = "DET_DISABLE_PLUGINS"
TIMEOUT = "DET_PLUGIN_TIMEOUT"
SECONDS = 10.0
CORE = "det-core"
Status = Literal["active", "disabled", "incompatible", "broken", "hanging"]

# The hooks alone: pluggy looks closely at everything that is in a module, for each plugin again.
_SPECS = ModuleType("hooks")
vars(_SPECS).update({hook: getattr(hooks, hook) for hook in hooks.HOOKS.values()})
_KIND_OF = {hook: kind for kind, hook in hooks.HOOKS.items()}
_NAME = re.compile(r"[^\s:]+")
_TARGET = re.compile(r"[\w.]+:[\w.]+")
_FILE = re.compile(r"[\w.]+:[^:]+")


@dataclass(frozen=True)
class Plugin:
    """One plugin of one installed distribution.

    Attributes:
        module: the entry point's value, "package.module" as a rule.
        status: "active"; "disabled" by the environment; "incompatible" with this core; "broken": cannot be imported;
            "hanging": could not be imported in time.
        components: kind -> name -> target; what an active plugin offers.
        problems: what is wrong with it, a sentence each; an active plugin may have some too.
        missing: the module that a broken plugin did not find; "" if that is not its trouble.
    """

    distribution: str
    version: str
    module: str
    status: Status = "active"
    components: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    missing: str = ""

    @property
    def problem(self) -> str:
        """All that is wrong with it in one line; "" where nothing is."""
        return "; ".join(self.problems)


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: where, what it is, and the command or the step that mends it."""

    where: str
    problem: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}" + (f"; {self.fix}" if self.fix else "")


@dataclass(frozen=True)
class Catalog:
    """What was found, by the names of the distributions, so that the order of installation never matters.

    Attributes:
        strays: what is wrong with the environment rather than with one plugin.
    """

    plugins: tuple[Plugin, ...]
    strays: tuple[Finding, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that somebody should mend, a sentence each; a plugin that was switched off is none."""
        of_plugins = (
            f"{plugin.distribution} {plugin.version}: {problem}"
            for plugin in self.plugins
            if plugin.status != "disabled"
            for problem in plugin.problems
        )
        return (*map(str, self.strays), *of_plugins)


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
    strays: list[Finding] = []
    first: dict[str, str] = {}
    try:
        core = metadata.version(CORE)
    except metadata.PackageNotFoundError:
        core = ""  # told below
    with Watchdog(_patience(strays), f"{DISABLE}={{who}} goes on without it") as watchdog:
        for name, version, requires, points in _with_entry_points(strays):
            if name in first:
                # The same one again, further down sys.path: Python imports the first, so the first is the plugin.
                if version != first[name]:
                    problem = f"is installed twice; {first[name]} is used, {version} is hidden behind it"
                    fix = f"pip uninstall {name}  # until none is left, then install it again"
                    strays.append(Finding(name, problem, fix))
                continue
            first[name] = version
            misfit = _misfit(requires, core)
            for point in points:
                plugin = Plugin(name, version, point.value)
                if name in switched_off:
                    found.append(replace(plugin, status="disabled", problems=(f"switched off by {DISABLE}",)))
                elif misfit:
                    found.append(replace(plugin, status="incompatible", problems=(misfit,)))
                else:
                    found.append(_inspect(plugin, point, watchdog))
    if CORE not in first:
        problem = "is not installed as a distribution, so its own components cannot be found"
        strays.append(Finding(CORE, problem, "pip install it"))
    return Catalog(tuple(sorted(found, key=lambda plugin: (plugin.distribution, plugin.module))), tuple(strays))


def _patience(strays: list[Finding]) -> float:
    """How many seconds a plugin may take."""
    text = os.environ.get(TIMEOUT, "").strip()
    try:
        seconds = float(text or SECONDS)
        if not seconds >= 0:
            raise ValueError("negative, or no number")
    except ValueError:
        strays.append(Finding(TIMEOUT, f"{text!r} is not a number of seconds; {SECONDS:g} is used", "0 waits for ever"))
        return SECONDS
    return seconds or math.inf


class _Installed(NamedTuple):
    """What counts of the metadata of a distribution, which is parsed anew whenever it is asked for."""

    name: str
    version: str
    requires: Sequence[str]
    points: Sequence[metadata.EntryPoint]


def _with_entry_points(strays: list[Finding]) -> Iterator[_Installed]:
    """The distributions that have entry points in our group. The text is looked at first: parsing all takes long."""
    for distribution in metadata.distributions():
        try:
            if f"[{hooks.GROUP}]" not in (distribution.read_text("entry_points.txt") or ""):
                continue
            points = sorted(distribution.entry_points.select(group=hooks.GROUP), key=lambda point: point.name)
            about = distribution.metadata
            name, version, requires = about["Name"], about["Version"], about.get_all("Requires-Dist")
            if not (name and version):
                raise ValueError("it has no name or no version")
        except Exception as error:
            # A file that cannot be decoded, metadata without a name: what an interrupted installation leaves behind.
            place = str(getattr(distribution, "_path", "an installed distribution"))
            strays.append(Finding(place, f"its metadata cannot be read ({_brief(error)})", "install it again"))
            continue
        if points:
            yield _Installed(canonical(name), version, requires or distribution.requires or (), points)


def _inspect(plugin: Plugin, point: metadata.EntryPoint, watchdog: Watchdog) -> Plugin:
    """The plugin with what it offers; its code runs here, and nowhere else in this file."""
    torch_was_there = "torch" in sys.modules
    try:
        with foreign_code():
            module = watchdog.call(plugin.distribution, point.load)
    except TimeLimitError as error:
        return replace(plugin, status="hanging", problems=(f"{error} to be imported, more than {TIMEOUT} allows",))
    except Exception as error:
        missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
        return replace(plugin, status="broken", problems=(f"cannot be imported: {_brief(error)}",), missing=missing)
    manager = pluggy.PluginManager(hooks.GROUP)
    manager.add_hookspecs(_SPECS)
    try:
        with foreign_code():
            watchdog.call(plugin.distribution, manager.register, module)
    except Exception as error:
        return replace(plugin, status="broken", problems=(f"cannot be registered: {_brief(error)}",))
    problems: list[str] = []
    components = _offers(manager, module, problems, partial(watchdog.call, plugin.distribution))
    if "torch" in sys.modules and not torch_was_there:
        problems.append(f"{point.value} imports torch to be listed; name components as text and import nothing there")
    return replace(plugin, components=components, problems=tuple(problems))


def _misfit(requires: Sequence[str], core: str) -> str:
    """Why a plugin cannot be used with this version of core, from its own Requires-Dist; "" where it can."""
    wanted = [text for text in requires if re.match(r"det[-_.]+core", text, re.IGNORECASE)]
    if not (wanted and core):
        return ""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in wanted:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            return f"its requirement {text!r} cannot be read"
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if (
            canonical(requirement.name) == CORE
            and applies
            and not requirement.specifier.contains(core, prereleases=True)
        ):
            return f"needs {CORE}{requirement.specifier}, but {core} is installed"
    return ""


def _offers(
    manager: pluggy.PluginManager, module: Any, problems: list[str], call: Callable[..., Any]
) -> dict[str, dict[str, str]]:
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
                    offered = call(implementation.function)
                    items = list(offered.items()) if isinstance(offered, Mapping) else None
            except TimeLimitError as error:
                problems.append(f"{caller.name} {error}")
                continue
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
