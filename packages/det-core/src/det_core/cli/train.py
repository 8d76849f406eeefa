"""`det train`: train what a recipe describes."""

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from det_core import recipes
from det_core.errors import MissingExtraError

if TYPE_CHECKING:
    from det_core.engine import Outcome

__all__ = ["command"]


@click.command(short_help="Train what a recipe describes.")
@click.argument("recipe", metavar="RECIPE")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a value of the recipe, such as train.steps=100; may be repeated.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the run is written; by default runs/ and the name of the recipe.",
)
@click.option("--resume", is_flag=True, help="Go on with the run in DIR; begin it where nothing is saved yet.")
@click.option("--overwrite", is_flag=True, help="Start again, even if there is a run in DIR.")
@click.pass_context
def command(
    context: click.Context, recipe: str, overrides: tuple[str, ...], output: Path | None, resume: bool, overwrite: bool
) -> None:
    """Train what RECIPE (a name that `det recipes` lists, or a YAML file) describes.

    DIR then holds the checkpoints (best.safetensors by the metric on the validation set, last.safetensors), the numbers
    of the run (scalars.csv, scalars.jsonl), its learning curves, and the whole recipe (recipe.resolved.yaml), which
    alone starts the same run again. Ctrl-C ends the run after the step under way; --resume goes on exactly there.

    \b
    Example, from a clone of the project:
      det train examples/blood-cells/recipe.yaml --set train.steps=50 --output runs/cells
      det predict examples/blood-cells/images/BloodImage_0000*.jpg --model runs/cells --output runs/cells/seen
    """
    if resume and overwrite:
        raise click.UsageError("--resume goes on with a run and --overwrite throws it away: give one of them")
    loaded = recipes.load(recipe, overrides)
    folder = output or Path("runs") / _name(recipe)
    # What follows needs torch, which takes seconds to load: a wrong name or override is told before.
    from det_core.engine import train

    outcome = train(loaded, folder, resume=resume, overwrite=overwrite)
    if not outcome.finished:
        again = f"det train {recipe}" + "".join(f" --set {each}" for each in overrides) + f" --output {folder} --resume"
        click.echo(f"Stopped after step {outcome.step}; everything is saved. Go on with: {again}", err=True)
        context.exit(128 + (outcome.signal or signal.SIGINT))
    if int(os.environ.get("RANK", "0")) == 0:
        _report(outcome)


def _name(recipe: str) -> str:
    """What a run of a recipe is called: the file's name, or the folder's for the file recipe.yaml."""
    path = Path(recipe)
    if path.stem == "recipe" and path.resolve().parent.name:
        return path.resolve().parent.name
    return path.stem.removesuffix(".resolved")


def _report(outcome: "Outcome") -> None:
    from det_core.engine import read_scalars
    from det_core.visual import plot_curves

    folder = outcome.folder
    if outcome.best is not None:
        best = outcome.best
        click.echo(f"Best {best.metric} {best.value:.4f} at step {best.step}: {folder.best}")
    click.echo(f"Last step {outcome.step}: {folder.last}")
    try:
        click.echo(f"Learning curves: {plot_curves(read_scalars(folder.scalars), folder.path / 'curves.png')}")
    except MissingExtraError as error:
        click.echo(f"No learning curves: {error}", err=True)
