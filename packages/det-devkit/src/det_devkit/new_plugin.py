"""`det new-plugin`: a starting point for a plugin."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from det_core.cli.output import echo

from det_devkit.scaffold import KINDS, new_plugin

__all__ = ["command"]


def _kinds(function: Callable[..., Any]) -> Callable[..., Any]:
    """One flag for each kind of component."""
    for kind, what in reversed(list(KINDS.items())):
        article = "An" if kind[0] in "aeiou" else "A"
        function = click.option(f"--{kind}", is_flag=True, help=f"{article} {kind}: {what}.".replace("`", ""))(function)
    return function


@click.command(short_help="Write the package of a new plugin.")
@click.argument("name")
@_kinds
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Output folder, new or empty; by default NAME, in the current folder.",
)
def command(name: str, output: Path | None, **flags: bool) -> None:
    """Write a package called NAME, a working plugin to change into your own.

    It has a component of each given kind (by default a backbone), a recipe that trains it, tests, including det's
    conformance checks of plugins, and the files of a publishable package.

    \b
    Example:
      det new-plugin det-acme --backbone --evaluator
      pip install -e "det-acme[test]"
      pytest det-acme
    """
    files = new_plugin(name, [kind for kind, enabled in flags.items() if enabled], output)
    folder = Path(os.path.commonpath(files))
    echo(f"Wrote {len(files)} files to {folder}. Next:")
    for step in (f"cd {shlex.quote(str(folder))}", 'pip install -e ".[test]"', "det plugins --check", "pytest"):
        echo(f"  {step}")
