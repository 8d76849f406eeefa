"""`det recipes`: the recipes that are installed, and what one of them says."""

import click

from det_core import recipes
from det_core.cli.output import echo

__all__ = ["command"]


@click.group(invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """List the recipes, or show one."""
    if context.invoked_subcommand is None:
        listed = recipes.listing()
        width = max((len(each.name) for each in listed), default=0)
        for each in listed:
            line = f"cannot be read: {each.problem}" if each.problem else each.summary
            echo(f"{each.name:{width}}  {line}".rstrip())
            for alias in each.aliases:
                echo(f"{'':{width}}  also {alias}")
        if not listed:
            echo("No recipe is installed; `det plugins` says why.")


@command.command()
@click.argument("name")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change a value; may be repeated.")
@click.option("--resolved", is_flag=True, help="Say everything: qualified names, all defaults, versions.")
def show(name: str, overrides: tuple[str, ...], resolved: bool) -> None:
    """Print the recipe NAME (a name or a file) with its parents merged in, as YAML."""
    recipe = recipes.load(name, overrides)
    echo((recipe.resolved() if resolved else recipe).to_yaml(), nl=False)
