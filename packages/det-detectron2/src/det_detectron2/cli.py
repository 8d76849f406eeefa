"""`det recipes import`: converts configuration files of other libraries into recipes."""

from pathlib import Path

import click
from det_core import recipes
from det_core.cli.output import echo
from det_core.errors import DetError
from det_core.plugins import registry

__all__ = ["command"]


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the recipe to this file.")
@click.option("--overwrite", is_flag=True, help="Replace the output if it is there already.")
@click.option("--format", "form", default="detectron2", show_default=True, help="Library of the file.")
def command(file: Path, output: Path | None, overwrite: bool, form: str) -> None:
    """Convert FILE, a configuration of Detectron2, into a recipe.

    No code in FILE is run. Settings without a counterpart are listed, and the recipe is still written; if the model
    itself cannot be built, the command reports the setting that needs the missing part, and fails.
    """
    if output is not None and output.exists() and not overwrite:
        echo(f"error: {output}: is there already; give another name, or --overwrite", err=True)
        raise click.exceptions.Exit(1)
    importer = registry.find("importers", form, "--format").load("--format")
    try:
        imported = importer(file)
        recipe = recipes.recipe_from_tree(imported.tree, str(file))
        if output is not None:
            recipe.save(output)
    except DetError as error:
        echo(f"error: {' '.join(str(error).split())}", err=True)
        raise click.exceptions.Exit(1) from error
    for setting in (*imported.unknown, *imported.unused):
        echo(f"not translated: {setting}", err=True)
    if output is None:
        echo(recipe.to_yaml(), nl=False)
