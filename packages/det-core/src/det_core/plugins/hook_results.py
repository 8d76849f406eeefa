"""The content of a plugin module: its hooks, called one by one, and its tables, reduced to plain text.

Everything here runs code of the plugin, and is called within `det_safeload.isolation`.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import ModuleType
from typing import Any

import pluggy
from det_safeload.isolation import ForeignError

from det_core.plugins import hooks
from det_core.printable import printable, quoted

__all__ = ["Tables", "components", "registered", "tables"]

# The hooks alone: pluggy inspects every attribute of a module, for each plugin again.
_SPECS = ModuleType("hooks")
vars(_SPECS).update({hook: getattr(hooks, hook) for hook in hooks.HOOKS.values()})
_KIND_OF = {hook: kind for kind, hook in hooks.HOOKS.items()}
_NAME = re.compile(r"[^\s:]+")
_NAMES, _LENGTH = 10_000, 300  # of one hook or table; of one name or target
_TWO_WORDS = re.compile(r"[^\s:]+( [^\s:]+)?")  # of commands
_TARGET = re.compile(r"[\w.]+:[\w.]+")
_FILE = re.compile(r"[\w.]+:[^:]+")
_MOVED = re.compile(r"[\w./:-]+")  # a qualified name, a module, or an import path


@dataclass(frozen=True)
class Tables:
    """The tables of a plugin module beside its hooks, and their problems.

    Attributes:
        safe_parts: import paths that an untrusted recipe may build.
        moved_names: earlier name of a part of the plugin -> current name.
    """

    safe_parts: tuple[str, ...] = ()
    moved_names: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def tables(module: ModuleType) -> Tables:
    """The tables of a plugin module, and its functions that have the name of a hook without the mark."""
    safe_parts, of_parts = _safe_parts(module)
    moved_names, of_names = _moved_names(module)
    return Tables(safe_parts, moved_names, (*of_parts, *of_names, *_unmarked(module)))


def registered(module: ModuleType) -> list[tuple[str, Callable[[], Any]]]:
    """The functions of a plugin that are marked as hooks, by the names that they have as hooks."""
    manager = pluggy.PluginManager(hooks.GROUP)
    manager.add_hookspecs(_SPECS)
    manager.register(module)
    return [
        (str(caller.name), implementation.function)
        for caller in manager.get_hookcallers(module) or ()
        for implementation in caller.get_hookimpls()
    ]


def components(
    functions: Sequence[tuple[str, Callable[[], Any]]], problems: list[str], run: Callable[..., Any]
) -> dict[str, dict[str, str]]:
    """The results of the hooks of a plugin; one that raises does not affect others."""
    tables: dict[str, dict[str, str]] = {}
    for name, function in functions:
        kind = _KIND_OF.get(name)
        if kind is None:
            near = difflib.get_close_matches(name[:80], _KIND_OF, 1)
            problems.append(f"det has no hook {quoted(name)}" + (f"; did you mean {near[0]!r}?" if near else ""))
            continue
        try:
            offered, wrong = run(_offered, kind, function)
        except ForeignError as error:
            problems.append(f"{name} {error.text}" if error.late else f"{name} raises {error.text}")
            continue
        problems += wrong
        if offered is not None:
            tables[kind] = offered
    return tables


def _offered(kind: str, function: Callable[[], Any]) -> tuple[dict[str, str] | None, list[str]]:
    """The names of one hook, as plain text, and their problems."""
    offered, hook = function(), hooks.HOOKS[kind]
    if not isinstance(offered, Mapping):
        return None, [f'{hook} must return {{"name": "package.module:attribute"}}, not {quoted(offered)}']
    items = list(islice(iter(offered.items()), _NAMES + 1))
    if len(items) > _NAMES:
        return None, [f"{hook} offers more than {_NAMES} names"]
    return _well_formed(kind, items)


def _well_formed(kind: str, items: list[tuple[Any, Any]]) -> tuple[dict[str, str], list[str]]:
    form, pattern = ("package:folder/file.yaml", _FILE) if kind == "recipes" else ("package.module:attribute", _TARGET)
    good, problems, hook = {}, [], hooks.HOOKS[kind]
    for key, value in items:
        name, target = _plain_text(key), _plain_text(value)
        if name is None or not (_TWO_WORDS if kind == "commands" else _NAME).fullmatch(name):
            rule = "one or two words without colons" if kind == "commands" else "text without spaces and colons"
            problems.append(f"{hook} offers the name {quoted(key)}; a name is {rule}")
        elif target is None or not pattern.fullmatch(target):
            problems.append(f'{hook} offers {quoted(name)} as {quoted(value)}; a target reads "{form}"')
        else:
            good[name] = target
    return good, problems


def _safe_parts(module: ModuleType) -> tuple[tuple[str, ...], list[str]]:
    """The import paths that an untrusted recipe may build, and the problems of the list."""
    listed = vars(module).get(hooks.SAFE_PARTS, ())
    if not isinstance(listed, list | tuple | set | frozenset):
        return (), [f'{hooks.SAFE_PARTS} must be ("package.module:attribute", ...), not {quoted(listed)}']
    texts = [(value, _plain_text(value)) for value in islice(iter(listed), _NAMES)]
    good = tuple(text for _, text in texts if text is not None and _TARGET.fullmatch(text))
    wrong = [value for value, text in texts if text is None or not _TARGET.fullmatch(text)]
    return good, [
        f'{hooks.SAFE_PARTS} holds {quoted(value)}; a part reads "package.module:attribute"' for value in wrong
    ]


def _moved_names(module: ModuleType) -> tuple[dict[str, str], list[str]]:
    """Earlier names of parts of the plugin, and the problems of the table."""
    listed = vars(module).get(hooks.MOVED_NAMES, {})
    if not isinstance(listed, Mapping):
        return {}, [f'{hooks.MOVED_NAMES} must be {{"earlier name": "name"}}, not {quoted(listed)}']
    good, wrong = {}, []
    for key, value in islice(iter(listed.items()), _NAMES):
        name, target = _plain_text(key), _plain_text(value)
        if name and target and _MOVED.fullmatch(name) and _MOVED.fullmatch(target):
            good[name] = target
        else:
            form = "both are qualified names, modules or import paths"
            wrong.append(f"{hooks.MOVED_NAMES} holds {quoted(key)}: {quoted(value)}; {form}")
    return good, wrong


def _plain_text(value: Any) -> str | None:
    """Text that a terminal can show, as text and nothing more; None for everything else."""
    if not issubclass(type(value), str):
        return None
    text = str.__str__(value)
    return text if len(text) <= _LENGTH and printable(text) == text else None


def _unmarked(module: ModuleType) -> list[str]:
    """Functions with the name of a hook but without the mark, which pluggy silently ignores."""
    functions = {name: value for name, value in vars(module).items() if name in _KIND_OF}
    return [
        f"{name} is not marked with @hookimpl, so it is not used"
        for name, value in functions.items()
        if getattr(value, "__module__", "") == module.__name__ and not hasattr(value, f"{hooks.GROUP}_impl")
    ]
