"""`det recipes`: list the installed recipes, and show one."""

import click

from det_core import recipes
from det_core.cli.commands import load_command
from det_core.cli.output import echo
from det_core.plugins.registry import components, is_import_path, matches

__all__ = ["command"]


@click.group(invoke_without_command=True)
@click.option("--filter", "words", multiple=True, metavar="TEXT", help="List only those whose lines have this text.")
@click.pass_context
def command(context: click.Context, words: tuple[str, ...]) -> None:
    """List the recipes, or show one."""
    if context.invoked_subcommand is None:
        texts = [(" ".join((each.name, each.summary, *each.aliases)).lower(), each) for each in recipes.listing()]
        matches = [each for text, each in texts if all(word.lower() in text for word in words)]
        width = max((len(each.name) for each in matches), default=0)
        for each in matches:
            line = f"cannot be read: {each.problem}" if each.problem else each.summary
            echo(f"{each.name:{width}}  {line}".rstrip())
            for alias in each.aliases:
                echo(f"{'':{width}}  also {alias}")
        if not matches:
            echo("No recipe has this text." if words else "No recipe is installed; see `det plugins` for the reason.")


@command.command()
@click.argument("name")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change a value; may be repeated.")
@click.option("--resolved", is_flag=True, help="With qualified names, all defaults and versions.")
@click.pass_context
def show(context: click.Context, name: str, overrides: tuple[str, ...], resolved: bool) -> None:
    """Print the recipe NAME (a name or a file) with its parents merged in, or the arguments of the component NAME."""
    if name not in recipes.names() and (is_import_path(name) or matches(components(), name)):
        context.invoke(load_command("recipes type"), name=name)
        return
    recipe = recipes.load(name, overrides)
    echo((recipe.resolved() if resolved else recipe).to_yaml(), nl=False)
