"""The command `det`: subcommands, and the handling of errors.

A command is a line in the hook `det_commands` of a plugin, core's own included; the help imports none of them.
"""

import os
import sys
import threading
import warnings
from typing import Any

import click

from det_core.cli.commands import Commands
from det_core.errors import DetError, DetWarning
from det_core.printable import printable

__all__ = ["det", "main"]

_END_SECONDS = 2.0  # that threads of a plugin may take at the end of a program


class _Det(Commands):
    """The commands of all plugins; an error of ours ends one with a sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DetError as error:
            if ctx.params["traceback"]:
                raise
            message = str(error)
        except ModuleNotFoundError as error:
            # Commands that list and show work without torch; others report what is missing.
            if ctx.params["traceback"] or not error.name or error.name.startswith("det_core"):
                raise
            message = f"det: this command needs {error.name!r}, which is not installed; pip install it"
        click.echo("error: " + " ".join(message.split()), err=True)
        return ctx.exit(2)


@click.group(cls=_Det, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="det-core", prog_name="det")
@click.option("--traceback", is_flag=True, help="Show the traceback of an error, not only its message.")
def det(traceback: bool) -> None:
    """Detection and segmentation from recipes and plugins."""


_python_formats = warnings.formatwarning


def _formatted(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning of det in one line, without its place in the code."""
    ours = issubclass(category, DetWarning)
    return (
        f"note: {printable(str(message), 3000)}\n"
        if ours
        else _python_formats(message, category, filename, lineno, line)
    )


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
        click.echo(f"det: {', '.join(names)} does not end, and is killed; see `det plugins`", err=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    timer = threading.Timer(_END_SECONDS, end)
    timer.daemon = True
    timer.start()
