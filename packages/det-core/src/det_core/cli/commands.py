"""The commands that plugins name by the hook `det_commands`: listed as data, imported when they are asked for."""

import ast
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from det_core.errors import UnknownNameError
from det_core.plugins import CORE, known, registry
from det_core.plugins.registry import Component

__all__ = ["Commands", "load_command", "offered", "summary"]


def offered() -> dict[str, list[Component]]:
    """Every command by its name, of one or two words: core's own first; several where plugins offer one name."""
    commands: dict[str, list[Component]] = {}
    for component in sorted(registry.components("commands"), key=lambda each: each.distribution != CORE):
        commands.setdefault(component.name, []).append(component)
    return commands


class Commands(click.Group):
    """The commands below `prefix`: those of a group that a plugin names, and those that plugins add to it.

    Args:
        prefix: "" for `det` itself, else the group's word.
        inner: the group that a plugin names; None where only commands of two words are named.
        options: further keyword arguments of `click.Group`.
    """

    def __init__(self, *, prefix: str = "", inner: click.Group | None = None, **options: object) -> None:
        if inner is not None:
            names = ("name", "callback", "params", "help", "epilog", "invoke_without_command", "no_args_is_help")
            options = {each: getattr(inner, each) for each in (*names, "context_settings")} | options
        super().__init__(**options)  # type: ignore[arg-type]
        self._prefix, self._inner = prefix, inner

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The group's own commands, then those that plugins add, by name."""
        names = self._inner.list_commands(ctx) if self._inner else []
        return list(dict.fromkeys([*names, *_children(self._prefix)]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; None where a group has none of it and no plugin is known to bring it."""
        command = self._inner.get_command(ctx, cmd_name) if self._inner else None
        name = f"{self._prefix} {cmd_name}".strip()
        if command or (self._inner and name not in offered() and name not in known.COMMANDS):
            return command  # click answers with the group's own commands
        return load_command(name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """A command; or the one that a plugin offers for files of a suffix among its arguments: "predict .mp4"."""
        name, command, rest = super().resolve_command(ctx, args)
        forms = (f"{name} {Path(each).suffix.lower()}" for each in rest)
        form = next((each for each in forms if each in offered() or each in known.COMMANDS), "")
        return name, load_command(form) if form else command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with its line."""
        children = _children(self._prefix)
        rows = []
        for name in self.list_commands(ctx):
            command = self._inner.get_command(ctx, name) if self._inner else None
            rows.append((name, command.get_short_help_str(80) if command else children.get(name, "")))
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _children(prefix: str) -> Mapping[str, str]:
    """The words that may follow `prefix`, each with its line in the help."""
    lines: dict[str, str] = {}
    for name, components in offered().items():
        first, _, second = name.partition(" ")
        if not prefix and second:
            lines.setdefault(first, "")
        elif (prefix, bool(second)) == (first, True) or not prefix:
            lines[second or first] = summary(components[0].target)
    return lines


def load_command(name: str) -> click.Command:
    """The click command of a name of one or two words, with the subcommands that other plugins add to it.

    Raises:
        UnknownNameError: nothing offers it, or several plugins do.
        PluginError: it cannot be imported.
    """
    commands = offered()
    extended = any(other.startswith(f"{name} ") for other in commands)
    if name not in commands and extended:
        return Commands(prefix=name, name=name)
    where = f"det {name}"
    component = registry.find("commands", name, where)
    command = component.resolve(where)
    if not isinstance(command, click.Command):
        problem = f"{component.target!r} is listed as a command by {component.distribution}, but is not a click command"
        raise UnknownNameError(where, problem)
    if isinstance(command, click.Group):
        return Commands(prefix=name, inner=command)
    return command


def summary(target: str) -> str:
    """The `short_help` or the first sentence of the docstring of the command at an import path; "" if none.

    Nothing of the package is imported: its root is located, and the source is read.
    """
    module, _, attribute = target.partition(":")
    try:
        tree = ast.parse(_file_of(module).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError, ImportError, AttributeError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == attribute:
            keywords = (each for call in node.decorator_list if isinstance(call, ast.Call) for each in call.keywords)
            for keyword in keywords:
                if keyword.arg == "short_help" and isinstance(keyword.value, ast.Constant):
                    return str(keyword.value.value)
            paragraph = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
            return paragraph.partition(". ")[0].rstrip(".") + "." if paragraph else ""
    return ""


def _file_of(module: str) -> Path:
    root, *rest = module.split(".")
    spec = importlib.util.find_spec(root)  # a top-level module is located without running it
    if spec is None:
        raise ImportError(root)
    if not rest:
        return Path(spec.origin or "")
    place = Path(next(iter(spec.submodule_search_locations or ())), *rest)
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
