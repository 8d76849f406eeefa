"""`det recipes type`: the arguments of a component, which `det recipes show TYPE` prints too."""

import textwrap
from typing import TYPE_CHECKING

import click
from det_core.cli.output import echo

if TYPE_CHECKING:
    from det_inspect.components import Description

__all__ = ["command"]


@click.command("type", short_help="Show the arguments of a component.")
@click.argument("name", metavar="TYPE")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
def command(name: str, markdown: bool) -> None:
    """Show the arguments of TYPE in a recipe, each with its type, default and description.

    TYPE is a name that `det plugins` lists, or an import path. A required argument of a head, such as `channels` or
    `num_classes`, is given by the part around it.

    \b
    Examples:
      det recipes show resnet
      det recipes show det_core.engine:Train
    """
    from det_inspect.components import describe, find

    for number, component in enumerate(find(name)):
        description = describe(component)
        echo("\n" * bool(number), nl=False)
        if markdown:
            echo(description.markdown(), nl=False)
        else:
            _print(description)


def _print(description: "Description") -> None:
    echo(f"{description.name} ({description.target})")
    echo(textwrap.indent(description.about, "  "))
    for each in description.parameters:
        default = f" = {each.default}" if each.default else ", required"
        echo(f"\n  {each.name}: {each.type}{default}")
        echo(textwrap.fill(each.about, 100, initial_indent="      ", subsequent_indent="      "), nl=bool(each.about))
    if not description.parameters:
        echo("\n  No arguments.")
