"""`det recipes`: the recipes that are installed, what one of them says, and those of other libraries."""

from pathlib import Path

import click

from det_core import recipes
from det_core.errors import DetError

__all__ = ["command"]


@click.group(invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """List the recipes, show one, or import one."""
    if context.invoked_subcommand is None:
        listed = recipes.listing()
        width = max((len(each.name) for each in listed), default=0)
        for each in listed:
            line = f"cannot be read: {each.problem}" if each.problem else each.summary
            click.echo(f"{each.name:{width}}  {line}".rstrip())
            for alias in each.aliases:
                click.echo(f"{'':{width}}  also {alias}")
        if not listed:
            click.echo("No recipe is installed; `det plugins` says why.")


@command.command()
@click.argument("name")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change a value; may be repeated.")
@click.option("--resolved", is_flag=True, help="Say everything: qualified names, all defaults, versions.")
def show(name: str, overrides: tuple[str, ...], resolved: bool) -> None:
    """Print the recipe NAME (a name or a file) with its parents merged in, as YAML."""
    recipe = recipes.load(name, overrides)
    click.echo((recipe.resolved() if resolved else recipe).to_yaml(), nl=False)


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the recipe to this file.")
def import_(file: Path, output: Path | None) -> None:
    """Turn FILE, a configuration of Detectron2, into a recipe.

    Nothing in FILE is run. Settings that have no counterpart here are listed, and the recipe is written all the same;
    where the model itself cannot be built, the command says which setting asks for it, and fails.
    """
    from det_detectron2.importer.files import recipe_from_file

    try:
        imported = recipe_from_file(file)
        recipe = recipes.recipe_from_tree(imported.tree, str(file))
        if output is not None:
            recipe.save(output)
    except DetError as error:
        click.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise click.exceptions.Exit(1) from error
    for setting in (*imported.unknown, *imported.unused):
        click.echo(f"not translated: {setting}", err=True)
    if output is None:
        click.echo(recipe.to_yaml(), nl=False)
