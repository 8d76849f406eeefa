"""The command `det` itself: what there is, and what happens to errors.

The help imports click alone. A subcommand is a line in `COMMANDS`, and a click command in a module of its own.
"""

import difflib
import importlib
import os
import sys
import threading
import warnings
from collections.abc import Mapping
from typing import Any

import click

from det_core.errors import DetError, DetWarning

__all__ = ["COMMANDS", "det", "main"]

_END_SECONDS = 2.0  # that threads of a plugin may take at the end of a program

# Name: where the click command is, and what it does, so that the help imports none of them.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "train": ("det_core.cli.train:command", "Train what a recipe describes."),
    "eval": ("det_core.cli.eval:command", "Evaluate a trained model on a recipe's data."),
    "predict": ("det_core.cli.predict:command", "Find objects in images and draw them."),
    "data": ("det_core.cli.data:command", "Check a dataset, and convert between COCO, VOC and YOLO."),
    "recipes": ("det_core.cli.recipes:command", "List the recipes, show one, or import one."),
    "zoo": ("det_core.cli.zoo:command", "List and show published models; convert and verify their weights."),
    "plugins": ("det_core.cli.plugins:command", "List the installed plugins, what they bring, and what is wrong."),
    "new-plugin": ("det_devkit.new_plugin:command", "Write the package of a new plugin."),
}


class _Det(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            near = difflib.get_close_matches(cmd_name, COMMANDS, 1)
            ctx.fail(f"there is no command {cmd_name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DetError as error:
            if ctx.params["traceback"]:
                raise
            message = str(error)
        except ModuleNotFoundError as error:
            # The half that lists and shows works without torch; what does not says what it lacks.
            if ctx.params["traceback"] or not error.name or error.name.startswith("det_core"):
                raise
            message = f"det: this command needs {error.name!r}, which is not installed; pip install it"
        click.echo("error: " + " ".join(message.split()), err=True)
        return ctx.exit(2)


@click.group(cls=_Det, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="det-core", prog_name="det")
@click.option("--traceback", is_flag=True, help="Show where an error was raised, not only what it says.")
def det(traceback: bool) -> None:
    """Detection and segmentation from recipes and plugins."""


_python_formats = warnings.formatwarning


def _formatted(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning of ours in one line; where in the code it was raised is of no use to somebody at a terminal."""
    ours = issubclass(category, DetWarning)
    return f"note: {message}\n" if ours else _python_formats(message, category, filename, lineno, line)


def main() -> None:
    """Run the command line."""
    warnings.formatwarning = _formatted
    try:
        det()
    except SystemExit as end:
        _end_in_time(end.code if isinstance(end.code, int) else int(bool(end.code)))
        raise


def _end_in_time(code: int) -> None:
    """Where plugins left threads behind, wait for them no longer than a moment at the end of the program."""
    plugins = sys.modules.get("det_core.plugins")
    names = plugins.left_threads() if plugins is not None else ()
    if not names:
        return

    def end() -> None:
        click.echo(f"det: {', '.join(names)} does not end, and is ended; `det plugins` says more", err=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    timer = threading.Timer(_END_SECONDS, end)
    timer.daemon = True
    timer.start()
