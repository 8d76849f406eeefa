"""`det plugins`: the installed plugins, their components and problems."""

import json
import shutil
import textwrap

import click

from det_core.cli.output import echo
from det_core.errors import DetError
from det_core.plugins import Catalog, Plugin, catalog, foreign_code
from det_core.plugins.hooks import COMPONENTS, HOOKS

__all__ = ["command"]


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--check", is_flag=True, help="Import everything that is named; exit with 1 if anything is wrong.")
@click.pass_context
def command(context: click.Context, as_json: bool, check: bool) -> None:
    """List the installed plugins, their components and problems."""
    if context.invoked_subcommand is not None:
        if as_json or check:
            raise click.UsageError(f"options go behind the command: det plugins {context.invoked_subcommand} --json")
        return
    plugin_catalog = catalog()
    problems = [*plugin_catalog.problems, *(_faults(plugin_catalog) if check else [])]
    if as_json:
        plugins = [{**vars(plugin), "problem": plugin.problem} for plugin in plugin_catalog.plugins]
        echo(json.dumps({"plugins": plugins, "problems": problems}, indent=2))
    else:
        for plugin, before in zip(plugin_catalog.plugins, (None, *plugin_catalog.plugins), strict=False):
            headed = before is not None and before.distribution == plugin.distribution
            echo(_described(plugin, headed and plugin.status == "active"))
        if problems:
            echo("\nProblems:")
            for problem in problems:
                echo(textwrap.fill(problem, _width(), initial_indent="  ", subsequent_indent="    "))
        elif check:
            count = sum(len(names) for plugin in plugin_catalog.plugins for names in plugin.components.values())
            echo(f"\nAll {count} names lead somewhere, and every recipe fits what it calls.")
    if check and problems:
        raise SystemExit(1)


def _described(plugin: Plugin, headed: bool) -> str:
    """The components of a plugin module; `headed`: below the name of its distribution, which was printed before."""
    lines = [] if headed else [f"{plugin.distribution} {plugin.version}"]
    if plugin.status != "active":
        lines[0] += f": {plugin.status}"
        lines.append(textwrap.fill(plugin.problem, _width(), initial_indent="  ", subsequent_indent="  "))
    for kind in HOOKS:
        names = sorted(plugin.components.get(kind, ()))
        if names:
            shown = f"{len(names)}, listed by `det recipes`" if kind == "recipes" else ", ".join(names)
            indent = f"  {kind:12}"
            lines.append(
                textwrap.fill(
                    shown, _width(), initial_indent=indent, subsequent_indent=" " * 14, break_on_hyphens=False
                )
            )
    return "\n".join(lines)


def _width() -> int:
    return max(60, min(shutil.get_terminal_size().columns, 120))


def _faults(plugin_catalog: Catalog) -> list[str]:
    """Problems of importing every target and of checking every recipe."""
    from det_core import recipes
    from det_core.plugins import known, registry
    from det_core.recipes.signatures import signature_of

    faults = []
    present = {"", *(plugin.distribution for plugin in plugin_catalog.plugins)}
    for kind in HOOKS:
        for component in registry.components(kind):
            if known.reader(kind, component.name) not in present:
                continue  # only a package that is not installed would import it
            try:
                with foreign_code():
                    if kind == "recipes":
                        recipes.load(component.qualified).check()
                    elif kind not in COMPONENTS:
                        component.resolve()
                    elif signature_of(component.load()).open:
                        faults.append(f"{component.qualified}: takes **kwargs, so misspelt arguments would pass unseen")
            except DetError as error:
                said = "" if error.where == component.qualified else f"{component.qualified}: "
                faults.append(f"{said}{error}")
    return faults
