"""`det new-plugin`: a package to start a plugin from."""

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
    help="The folder to write, new or empty; by default NAME, in the current folder.",
)
def command(name: str, output: Path | None, **flags: bool) -> None:
    """Write a package called NAME, a plugin that works as it is: to be changed into one of your own.

    It has a component of each kind asked for (a backbone, if none is), a recipe that trains it, tests, among them det's
    own checks of a plugin, and the files of a package that can be published.

    \b
    Example:
      det new-plugin det-acme --backbone --evaluator
      pip install -e "det-acme[test]"
      pytest det-acme
    """
    files = new_plugin(name, [kind for kind, wanted in flags.items() if wanted], output)
    folder = Path(os.path.commonpath(files))
    echo(f"Wrote {len(files)} files to {folder}. Next:")
    for step in (f"cd {shlex.quote(str(folder))}", 'pip install -e ".[test]"', "det plugins --check", "pytest"):
        echo(f"  {step}")
