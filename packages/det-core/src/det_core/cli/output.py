"""Output of commands: names from files and plugins are printed without control characters."""

from typing import TYPE_CHECKING

import click

from det_core.printable import printable

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["cell", "echo"]


def echo(text: str = "", err: bool = False, nl: bool = True) -> None:
    """Print a text, control characters escaped."""
    click.echo(printable(text), err=err, nl=nl)


def cell(text: str) -> "Text":
    """A text for a table: printed as it is, so that brackets in a name are no markup."""
    from rich.text import Text

    return Text(printable(text, 200))
