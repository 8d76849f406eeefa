"""Finds the installed plugins and their components, without importing the components.

The loop over entry points is our own: one broken plugin is remembered and skipped instead of ending the program, and
two distributions that use the same entry-point name are both kept. `DET_DISABLE_PLUGINS`, distributions separated by
commas, switches plugins off before anything of theirs is imported. A plugin may take `DET_PLUGIN_TIMEOUT` seconds to be
imported, 10 if it is not set; 0 is for ever.
"""

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

from det_safeload.isolation import ForeignError, LeftThreads, foreign_code, isolated
from det_safeload.watchdog import Watchdog

from det_core.plugins import hook_results, hooks
from det_core.printable import described, printable, quoted, type_name

__all__ = [
    "CORE",
    "DISABLE",
    "TIMEOUT",
    "Catalog",
    "Issue",
    "Plugin",
    "Status",
    "canonical",
    "catalog",
    "foreign_code",
    "installed",
]

DISABLE = "DET_DISABLE_PLUGINS"
TIMEOUT = "DET_PLUGIN_TIMEOUT"
SECONDS = 10.0
CORE = "det-core"
Status = Literal["active", "disabled", "incompatible", "broken", "hanging"]

_DISTRIBUTION = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
_PROBLEMS = 20  # of one plugin


@dataclass(frozen=True)
class Plugin:
    """One plugin of one installed distribution.

    Attributes:
        module: the entry point's value, "package.module" as a rule.
        status: "active"; "disabled" by the environment; "incompatible" with this core; "broken": cannot be imported;
            "hanging": could not be imported in time.
        components: kind -> name -> target, of an active plugin.
        safe_parts: import paths that an untrusted recipe may build beside those, as the plugin lists them.
        moved_names: names that parts of it had elsewhere before, by which recipes of earlier versions call them.
        problems: a sentence each; an active plugin may have some too.
        missing: the module that a broken plugin did not find; "" if that is not its trouble.
    """

    distribution: str
    version: str
    module: str
    status: Status = "active"
    components: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    missing: str = ""
    safe_parts: tuple[str, ...] = ()
    moved_names: Mapping[str, str] = field(default_factory=dict)

    @property
    def problem(self) -> str:
        """All problems in one line; "" for none."""
        return "; ".join(self.problems)


@dataclass(frozen=True)
class Issue:
    """A problem: its place, a description, and the command or step that fixes it."""

    where: str
    problem: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}" + (f"; {self.fix}" if self.fix else "")


@dataclass(frozen=True)
class Catalog:
    """Installed plugins, by the names of the distributions, so that the order of installation never matters.

    Attributes:
        environment_issues: problems of the environment rather than of one plugin.
    """

    plugins: tuple[Plugin, ...]
    environment_issues: tuple[Issue, ...] = ()

    def moved(self, name: str) -> str:
        """The current name of a part that a plugin lists under its earlier `name`; "" for none."""
        return next((each.moved_names[name] for each in self.plugins if name in each.moved_names), "")

    @property
    def problems(self) -> tuple[str, ...]:
        """All problems, a sentence each; disabled plugins are none."""
        of_plugins = (
            f"{plugin.distribution} {plugin.version}: {problem}"
            for plugin in self.plugins
            if plugin.status != "disabled"
            for problem in plugin.problems
        )
        return (*map(str, self.environment_issues), *of_plugins)


_catalog: Catalog | None = None
_left: set[str] = set()


def catalog(refresh: bool = False) -> Catalog:
    """The installed plugins. Found once in a process; `refresh` searches again."""
    global _catalog
    if _catalog is None or refresh:
        importlib.invalidate_caches()
        _catalog = _discover()
    return _catalog


def canonical(distribution: str) -> str:
    """A distribution's name in its one normal form (PEP 503): "Det_Acme" is "det-acme"."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def installed() -> tuple[tuple[str, str], ...]:
    """The (distribution, version) of all that has plugins and is not switched off, from metadata alone."""
    off = _switched_off()
    return tuple(sorted({(each.name, each.version) for each in _with_entry_points([]) if each.name not in off}))


def _switched_off() -> set[str]:
    return {canonical(name.strip()) for name in os.environ.get(DISABLE, "").split(",") if name.strip()}


def _discover() -> Catalog:
    switched_off = _switched_off()
    plugins: list[Plugin] = []
    environment_issues: list[Issue] = []
    first: dict[str, str] = {}
    try:
        core = metadata.version(CORE)
    except metadata.PackageNotFoundError:
        core = ""  # reported below
    with Watchdog(_time_limit(environment_issues), f"{DISABLE}={{who}} goes on without it", "det") as watchdog:
        for name, version, requires, points in _with_entry_points(environment_issues):
            if name in first:
                # The same one again, further down sys.path: Python imports the first, so the first is the plugin.
                if version != first[name]:
                    problem = f"is installed twice; {first[name]} is used, {version} is hidden behind it"
                    fix = f"pip uninstall {name}  # until none is left, then install it again"
                    environment_issues.append(Issue(name, problem, fix))
                continue
            first[name] = version
            incompatibility = _incompatibility(requires, core)
            for point in points:
                plugin = Plugin(name, version, printable(point.value, 200))
                if name in switched_off:
                    plugins.append(replace(plugin, status="disabled", problems=(f"switched off by {DISABLE}",)))
                elif incompatibility:
                    plugins.append(replace(plugin, status="incompatible", problems=(incompatibility,)))
                else:
                    plugins.append(_inspect(plugin, point, watchdog))
    if CORE not in first:
        problem = "is not installed as a distribution, so its own components cannot be found"
        environment_issues.append(Issue(CORE, problem, "pip install it"))
    return Catalog(
        tuple(sorted(plugins, key=lambda plugin: (plugin.distribution, plugin.module))), tuple(environment_issues)
    )


def time_limit() -> float:
    """How many seconds a plugin may take; infinite for no limit."""
    return _time_limit([])


def _time_limit(environment_issues: list[Issue]) -> float:
    """How many seconds a plugin may take."""
    text = os.environ.get(TIMEOUT, "").strip()
    try:
        seconds = float(text or SECONDS)
        if not seconds >= 0:
            raise ValueError("negative, or no number")
    except ValueError:
        environment_issues.append(
            Issue(TIMEOUT, f"{text!r} is not a number of seconds; {SECONDS:g} is used", "0 waits for ever")
        )
        return SECONDS
    return seconds or math.inf


class _Installed(NamedTuple):
    """Metadata of a distribution, which importlib parses again at each access."""

    name: str
    version: str
    requires: Sequence[str]
    points: Sequence[metadata.EntryPoint]


def _with_entry_points(environment_issues: list[Issue]) -> Iterator[_Installed]:
    """The distributions that have entry points in our group. The text is searched first: parsing all takes long."""
    for distribution in metadata.distributions():
        try:
            if f"[{hooks.GROUP}]" not in (distribution.read_text("entry_points.txt") or ""):
                continue
            points = sorted(distribution.entry_points.select(group=hooks.GROUP), key=lambda point: point.name)
            about = distribution.metadata
            name, version, requires = about["Name"], about["Version"], about.get_all("Requires-Dist")
            if not (name and version):
                raise ValueError("it has no name or no version")
            if not _DISTRIBUTION.fullmatch(name) or len(version) > 100:
                raise ValueError(f"it calls itself {quoted(name)} {quoted(version)}")
        except Exception as error:
            # A file that cannot be decoded, metadata without a name: as after an interrupted installation.
            place = printable(str(getattr(distribution, "_path", "an installed distribution")), 500)
            environment_issues.append(
                Issue(place, f"its metadata cannot be read ({described(error)})", "install it again")
            )
            continue
        if points:
            yield _Installed(canonical(name), printable(version), requires or distribution.requires or (), points)


def _inspect(plugin: Plugin, point: metadata.EntryPoint, watchdog: Watchdog) -> Plugin:
    """The plugin with its components; its code runs only here."""
    torch_was_there, threads = "torch" in sys.modules, LeftThreads()
    run = partial(isolated, watchdog, plugin.distribution)
    try:
        module = run(_module_of, point)
    except ForeignError as error:
        if error.late:
            problem = f"{error.text} to be imported, more than {TIMEOUT} allows"
            return replace(plugin, status="hanging", problems=(problem,))
        return replace(plugin, status="broken", problems=(f"cannot be imported: {error.text}",), missing=error.missing)
    try:
        hooks_here = run(hook_results.registered, module)
    except ForeignError as error:
        sys.modules.pop(point.module, None)  # libraries that walk through all modules would stumble over it
        return replace(plugin, status="broken", problems=(f"cannot be registered: {error.text}",))
    problems: list[str] = []
    components = hook_results.components(hooks_here, problems, run)
    tables = hook_results.Tables()
    try:
        tables = run(hook_results.tables, module)
        problems += tables.problems
    except ForeignError as error:
        problems.append(f"its functions and safe parts cannot be listed: {error.text}")
    if "torch" in sys.modules and not torch_was_there:
        problems.append(f"{plugin.module} imports torch to be listed; name components as text and import nothing there")
    problems += _left_behind(plugin.distribution, threads, run)
    if len(problems) > _PROBLEMS:
        problems = [*problems[:_PROBLEMS], f"and {len(problems) - _PROBLEMS} problems more"]
    return replace(
        plugin,
        components=components,
        problems=tuple(problems),
        safe_parts=tables.safe_parts,
        moved_names=tables.moved_names,
    )


def _left_behind(distribution: str, threads: LeftThreads, run: Callable[..., Any]) -> list[str]:
    try:
        names = run(threads.names)
    except ForeignError as error:
        return [f"its threads cannot be listed: {error.text}"]
    _left.update(f"{distribution}'s thread {quoted(name)}" for name in names)
    return [f"leaves the thread {quoted(name)} behind, which every command would have to wait for" for name in names]


def left_threads() -> tuple[str, ...]:
    """Threads that plugins left running at discovery, each with its plugin."""
    return tuple(sorted(_left))


def _module_of(point: metadata.EntryPoint) -> ModuleType:
    module: ModuleType = point.load()
    if not issubclass(type(module), ModuleType):
        detail = quoted(point.module, 80)
        raise TypeError(f"its entry point names a {type_name(module)}, where a module belongs: {detail}")
    return module


def _incompatibility(requires: Sequence[str], core: str) -> str:
    """Why a plugin cannot be used with this version of core, from its own Requires-Dist; "" where it can."""
    requirements = [text for text in requires if re.match(r"det[-_.]+core", text, re.IGNORECASE)]
    if not (requirements and core):
        return ""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in requirements:
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
