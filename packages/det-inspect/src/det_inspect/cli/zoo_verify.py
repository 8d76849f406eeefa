"""`det zoo verify`: a published model is as good as published."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from det_core.cli.output import cell, echo
from det_core.errors import ConfigError, UnknownNameError
from det_core.plugins import known
from det_core.recipes.values import DATA_FOLDER
from det_core.zoo.published import PublishedModel

from det_inspect.zoo import package_of, published_model, recipe_of, weights_of

__all__ = ["command"]

_TOLERANCE = 0.1
# Published name of a metric, in percent, and names of evaluators, of which the first present one counts.
_METRICS: Mapping[str, tuple[str, ...]] = {
    "box AP": ("bbox/AP", "voc/AP"),
    "Box AP": ("bbox/AP",),
    "box AP50": ("bbox/AP50", "voc/AP50"),
    "mask AP": ("segm/AP",),
    "Mask AP": ("segm/AP",),
    "segm AP": ("segm/AP",),
    "kp. AP": ("keypoints/AP",),
    "mIoU": ("semantic/mIoU",),
    "PQ": ("panoptic/PQ",),
    "SQ": ("panoptic/SQ",),
    "RQ": ("panoptic/RQ",),
}


@click.command("verify", short_help="Evaluate a published model, and compare it with its published metrics.")
@click.argument("name")
@click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the data is: the folder that has coco/ in it, for COCO.",
)
@click.option("--weights", metavar="FILE", help="A file of the published weights; by default they are downloaded.")
@click.option("--batch-size", type=click.IntRange(min=1), default=1, show_default=True, help="Images at once.")
@click.option("--device", help="cpu, cuda, mps ...; by default the best there is.")
@click.pass_context
def command(
    context: click.Context, name: str, folder: Path, weights: str | None, batch_size: int, device: str | None
) -> None:
    """Evaluate the published model NAME, and compare its figures with the published ones.

    The exit code is 1 if one of them is off by more than 0.1 percent points.

    \b
    Example:
      det zoo verify faster_rcnn_r50_fpn_3x --data ~/datasets
    """
    model = published_model(name)
    recipe = recipe_of(model)
    if not recipe:
        problem = "its recipe is not installed" if package_of(model) else "no package has a recipe of it yet"
        raise UnknownNameError(model.name, problem, fix=known.hint(package_of(model)))
    if not any(label in _METRICS for label in model.reported):
        raise ConfigError(model.name, "has no published figure to compare with", fix="det eval evaluates it")
    with _data_in(folder):
        metrics, notes = _evaluated(recipe, weights or weights_of(model), batch_size, device)
    verdicts = _compared(model, metrics)
    for note in notes:
        echo(note)
    if verdicts != {True}:
        echo(f"{model.name}: not as published", err=True)
        context.exit(1)
    echo(f"{model.name}: as published")


@contextlib.contextmanager
def _data_in(folder: Path) -> Iterator[None]:
    """Relative paths of recipes start at `folder`."""
    before = os.environ.get(DATA_FOLDER)
    os.environ[DATA_FOLDER] = str(folder.expanduser().absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ[DATA_FOLDER]
        else:
            os.environ[DATA_FOLDER] = before


def _evaluated(
    recipe: str, weights: str, batch_size: int, device: str | None
) -> tuple[Mapping[str, float], tuple[str, ...]]:
    from det_core.engine import Display, check_classes, evaluate
    from det_core.predict.detector import Detector
    from det_core.recipes import load

    data = load(recipe).build("data")
    dataset = data.dataset("val")  # missing data is reported before weights are downloaded
    detector = Detector.load(recipe, weights, device)
    check_classes(detector.model, dataset)
    with Display() as display:
        batches = display.track(data.eval_loader("val", batch_size), f"evaluate {recipe}")
        result = evaluate(detector.model, batches, data.build_evaluators("val"))
    return result.metrics, result.notes


def _compared(model: PublishedModel, metrics: Mapping[str, float]) -> set[bool]:
    """Print published and measured metrics; returns whether they agree."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in ("figure", "published", "here", "difference"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    verdicts: set[bool] = set()
    for label in (label for label in model.reported if label in _METRICS):
        reference = float(model.reported[label])
        value = next((100 * metrics[key] for key in _METRICS[label] if key in metrics), None)
        agrees = value is not None and abs(value - reference) <= _TOLERANCE + 1e-9
        verdicts.add(agrees)
        here = ("", "not evaluated") if value is None else (f"{value:.2f}", f"{value - reference:+.2f}")
        table.add_row(cell(label), f"{reference:g}", *here, style=None if agrees else "red")
    Console(highlight=False, markup=False).print(table)
    return verdicts
