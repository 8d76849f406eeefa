"""`det recipes import` converts configurations of other libraries; `det migrate` reads programs for Detectron2."""

from pathlib import Path

import click
from det_core import recipes
from det_core.cli.output import echo
from det_core.errors import DetError
from det_core.plugins import registry

__all__ = ["command", "migrate"]


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


@click.command("migrate")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Only check: exit code 1 if a name is not part of the layer.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the recipe of the program's settings.")
def migrate(path: Path, check: bool, output: Path | None) -> None:
    """List the names of Detectron2 that PATH, a program or a folder, uses, and those that det's layer lacks.

    Programs are read, not run. For a program that takes a published configuration, the recipe that its settings become
    is printed, or written to --output.
    """
    from det_detectron2.migrate import program_files, recipe_of, uses_of

    try:
        files = program_files(path)
        uses = [use for file in files for use in uses_of(file)]
        lacking = [use for use in uses if not use.works]
        for use in lacking:
            echo(str(use))
        echo(f"{len(uses) - len(lacking)} of {len(uses)} names in {len(files)} files work on the layer")
        if check:
            raise click.exceptions.Exit(1 if lacking else 0)
        recipes_of = [(file, recipe) for file in files if (recipe := recipe_of(file)) is not None]
        if output is not None and len(recipes_of) == 1:
            if output.exists():
                echo(f"error: {output}: is there already; give another name", err=True)
                raise click.exceptions.Exit(1)
            recipes_of[0][1].save(output)
            echo(f"recipe of {recipes_of[0][0]}: {output}; det train {output}")
        else:
            for file, recipe in recipes_of:
                echo(f"# recipe of {file}\n{recipe.to_yaml()}", nl=False)
        echo("parts of your own become a plugin: det new-plugin NAME (package det-devkit)")
    except DetError as error:
        echo(f"error: {' '.join(str(error).split())}", err=True)
        raise click.exceptions.Exit(1) from error
