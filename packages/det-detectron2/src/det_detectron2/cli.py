"""`det recipes import` converts configurations of other libraries; `det migrate` reads programs for Detectron2."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from det_core import recipes
from det_core.cli.output import echo
from det_core.errors import ConfigError, DetError
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
    from det_detectron2.migrate import untranslated

    importer = registry.find("importers", form, "--format").load("--format")
    try:
        imported = importer(file)
        recipe = recipes.recipe_from_tree(imported.tree, str(file))
        if output is not None:
            recipe.save(output)
    except DetError as error:
        echo(f"error: {' '.join(str(error).split())}", err=True)
        raise click.exceptions.Exit(1) from error
    for line in untranslated(imported):
        echo(line, err=True)
    if output is None:
        echo(recipe.to_yaml(), nl=False)
    else:
        echo(f"recipe: {output}; det train {output}")


@click.command("migrate")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Only check: exit code 1 if a name is not part of the layer.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the recipe of the program's settings.")
@click.option("--plugin", metavar="NAME", help="Write a plugin skeleton, the folder NAME, for the program's own parts.")
def migrate(path: Path, check: bool, output: Path | None, plugin: str | None) -> None:
    """List the names of Detectron2 that PATH, a program or a folder, uses, and those that det's layer lacks.

    Programs are read, not run. For a program that takes a published configuration, the recipe that its settings become
    is printed, or written to --output. With --plugin, the package of `det new-plugin` is written for the backbones,
    heads, models, evaluators and hooks of the program; the code of each is in its folder before/, under a list of what
    changes.
    """
    from det_detectron2.migrate import program_files, recipe_of, uses_of

    try:
        files = program_files(path)
        uses = [use for file in files for use in uses_of(file)]
        lacking = [use for use in uses if not use.works]
        for use in lacking:
            echo(str(use))
        amount = f"{len(files)} file{'s' * (len(files) != 1)}"
        echo(f"{len(uses) - len(lacking)} of {len(uses)} names in {amount} work on the layer")
        if check:
            raise click.exceptions.Exit(1 if lacking else 0)
        recipes_of = [(file, *migrated) for file in files if (migrated := recipe_of(file)) is not None]
        for _, _, lines in recipes_of:
            for line in lines:
                echo(line, err=True)
        if output is not None:
            _save(recipes_of, output)
        else:
            for file, recipe, _ in recipes_of:
                echo(f"# recipe of {file}\n{recipe.to_yaml()}", nl=False)
        _plugin(files, plugin)
    except DetError as error:
        echo(f"error: {' '.join(str(error).split())}", err=True)
        raise click.exceptions.Exit(1) from error


def _plugin(files: Sequence[Path], name: str | None) -> None:
    """Write the plugin skeleton, or list the parts that one would hold."""
    from det_detectron2.migrate_plugin import parts_of, write_plugin

    if name is not None:
        for line in write_plugin(files, name):
            echo(line)
        echo(f"plugin skeleton: {name}; pip install -e {name}, then pytest {name}")
        return
    parts = [part for file in files for part in parts_of(file)]
    for part in parts:
        echo(f"{part.file}:{part.line}: {part.kind} {part.name} becomes part of a plugin: --plugin NAME")


def _save(recipes_of: Sequence[tuple[Path, Any, list[str]]], output: Path) -> None:
    """Write the only recipe.

    Raises:
        ConfigError: there is none, or several, or the file is there already.
    """
    if len(recipes_of) != 1:
        programs = ", ".join(str(file) for file, *_ in recipes_of) or "none"
        raise ConfigError("--output", "is for a program with one published configuration", programs, "name one program")
    if output.exists():
        raise ConfigError(str(output), "is there already", fix="give another name")
    file, recipe, _ = recipes_of[0]
    recipe.save(output)
    echo(f"recipe of {file}: {output}; det train {output}")
