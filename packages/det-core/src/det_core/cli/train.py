"""`det train`: train what a recipe describes."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from det_core import recipes
from det_core.cli.faults import refuse_faults
from det_core.cli.output import echo
from det_core.errors import MissingExtraError
from det_core.plugins import known, registry
from det_core.recipes.overrides import SECTIONS

if TYPE_CHECKING:
    from det_core.engine import Outcome

__all__ = ["command"]


_HELP = """\
Train what RECIPE (a name that `det recipes` lists, or a YAML file) describes.

DATA, a folder of annotated pictures or a data.yaml, gets a recipe first, as det start DATA writes it (det-inspect):
DIR/recipe.yaml.

DIR then holds the checkpoints (best.safetensors by the metric on the validation set, last.safetensors), the numbers
of the run (scalars.csv, scalars.jsonl), its learning curves, and the whole recipe (recipe.resolved.yaml), which
alone starts the same run again. Ctrl-C ends the run after the step under way; --resume goes on exactly there, and
where nothing is saved yet it begins: one command line serves the first start and every other.

On several GPUs: torchrun --nproc-per-node 8 --no-python det train RECIPE. Then train.batch_size is the number of
images per step over all of them.

\b
Example, from a clone of the project:
  det train examples/blood-cells/recipe.yaml --set train.steps=50 --output runs/cells
  det predict examples/blood-cells/images/BloodImage_0000*.jpg --model runs/cells --output runs/cells/pictures
"""


@click.command(short_help="Train what a recipe describes.", help=_HELP)
@click.argument("recipe", metavar="RECIPE|DATA")
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
@click.option("--scale-lr", is_flag=True, help="Scale learning rate, warmup and steps with a --set train.batch_size.")
@click.option("--dry-run", is_flag=True, help="Build everything, train two steps, evaluate four images, write nothing.")
@click.option("--overfit", type=click.IntRange(1), metavar="N", help="Overfit N images and write nothing.")
@click.pass_context
def command(
    context: click.Context,
    recipe: str,
    overrides: tuple[str, ...],
    output: Path | None,
    resume: bool,
    overwrite: bool,
    scale_lr: bool,
    dry_run: bool,
    overfit: int | None,
) -> None:
    """Train what a recipe describes."""
    if resume and overwrite:
        raise click.UsageError("--resume goes on with a run and --overwrite throws it away: give one of them")
    folder = output or Path("runs") / _name(recipe)
    if _is_data(Path(recipe)):
        recipe = _plugged("train DATA")(recipe, folder, resume, overwrite)
    scaled = _plugged("train --scale-lr") if scale_lr else None
    trial = _plugged("train --overfit" if overfit else "train --dry-run") if dry_run or overfit else None
    new = None if resume or overwrite or trial else folder
    refuse_faults(recipe, overrides, SECTIONS, ("train", "val"), None if resume else "", new)
    loaded = recipes.load(recipe, overrides)
    if scaled:
        loaded = scaled(loaded, recipe, overrides)
    if trial:
        trial(context, loaded, overfit)
        return
    from det_core.engine import train

    watch = [each.load()() for each in registry.components("commands") if each.name == "train --watch"]
    outcome = train(loaded, folder, resume=resume, overwrite=overwrite, callbacks=watch)
    first = int(os.environ.get("RANK", "0")) == 0
    if not outcome.finished:
        flags = "".join(f" --set {each}" for each in overrides) + (" --scale-lr" if scale_lr else "")
        again = f"det train {recipe}{flags} --output {folder} --resume"
        if first:
            echo(f"Stopped after step {outcome.step}; everything is saved. Go on with: {again}", err=True)
        context.exit(128 + (outcome.signal or signal.SIGINT))
    if first:
        _report(outcome)


def _plugged(words: str) -> Callable[..., Any]:
    """The function behind an option or argument that a plugin brings, as a command is named."""
    function: Callable[..., Any] = registry.find("commands", words, f"det {words}").resolve()
    return function


def _is_data(path: Path) -> bool:
    """Whether RECIPE is data instead: a folder, a table, or the data.yaml of a YOLO dataset."""
    if path.suffix in (".yaml", ".yml"):
        return path.is_file() and "names:" in (text := path.read_text("utf-8", "replace")) and "model:" not in text
    return path.is_dir() or (path.suffix in (".json", ".csv") and path.is_file())


def _name(recipe: str) -> str:
    """Name of the run of a recipe: that of the file, or of the folder for recipe.yaml and data.yaml."""
    path = Path(recipe)
    if path.stem in ("recipe", "data") and path.resolve().parent.name:
        return path.resolve().parent.name
    return path.stem.removesuffix(".resolved")


def _report(outcome: "Outcome") -> None:
    from det_core.engine import read_scalars

    folder = outcome.folder
    if outcome.best is not None:
        best = outcome.best
        echo(f"Best {best.metric} {best.value:.4f} at step {best.step}: {folder.best}")
    echo(f"Last step {outcome.step}: {folder.last}")
    try:
        picture = known.function("learning curves")(read_scalars(folder.scalars), folder.path / "curves.png")
        echo(f"Learning curves: {picture}")
    except MissingExtraError as error:
        echo(f"No learning curves: {error}", err=True)
