"""`det eval`: how good a trained model is."""

import dataclasses
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from det_core.cli.analysis import installed_analysis
from det_core.cli.faults import refuse_faults
from det_core.cli.output import cell, echo
from det_core.errors import ConfigError, RecipeError
from det_core.plugins import known, registry
from det_core.printable import printable
from det_core.zoo.class_names import short_name

if TYPE_CHECKING:
    from det_core.contracts import Analysis, Explanation
    from det_core.engine import Evaluation
    from det_core.predict import Detector
    from det_core.recipes import Factory

__all__ = ["command", "load_with_data", "show"]

_LONGEST = 1000


_HELP = """\
Evaluate a checkpoint, which knows its own data, or a recipe and weights, or results in a file.

CHECKPOINT_OR_RECIPE is a file that training wrote (best.safetensors), the folder of a run, or a recipe (a name that
`det recipes` lists, or a YAML file).

\b
Examples:
  det eval runs/cells
  det eval faster_rcnn_r50_fpn_3x --weights model.safetensors --split val
  det eval --predictions found.json --annotations instances_val2017.json
  torchrun --nproc-per-node 2 --no-python det eval runs/cells
"""


@click.command(help=_HELP)
@click.argument("source", metavar="[CHECKPOINT_OR_RECIPE]", required=False)
@click.option("--weights", metavar="FILE", help="The weights to evaluate, if a recipe is given.")
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    help="Which dataset of the recipe; by default test, or val where it has no test.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a value of the recipe, such as data.workers=0; may be repeated.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True, help="Images at once.")
@click.option(
    "--tta", is_flag=True, help="Nine sizes of each image, and mirrored: 18 times the work. Needs det-inspect."
)
@click.option("--device", help="cpu, cuda, mps ...; by default the best there is.")
@click.option("--trust", is_flag=True, help="Run code that the checkpoint names outside the installed plugins.")
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Results in COCO's format to evaluate, instead of a model; with --annotations. Needs det-inspect.",
)
@click.option(
    "--annotations", type=click.Path(path_type=Path), metavar="FILE", help="Ground truth of --predictions (COCO)."
)
@click.option("--images", type=click.Path(path_type=Path), metavar="DIR", help="The images, for --report on files.")
@click.option("--loss", is_flag=True, help="Also report the losses, which costs a second forward pass.")
@click.option(
    "--save-predictions",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the results in COCO's format. Needs det-inspect.",
)
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write index.html: PR curves, confusions, the worst images, what errors cost. Needs det-inspect.",
)
@click.option(
    "--analysis",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the analysis of det-inspect, such as channels=true; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON.")
def command(
    source: str | None,
    weights: str | None,
    split: str | None,
    overrides: tuple[str, ...],
    batch_size: int,
    tta: bool,
    device: str | None,
    trust: bool,
    predictions: Path | None,
    annotations: Path | None,
    images: Path | None,
    loss: bool,
    save_predictions: Path | None,
    report: Path | None,
    options: tuple[str, ...],
    as_json: bool,
) -> None:
    """Evaluate a checkpoint, which knows its own data, or a recipe and weights, or results in a file."""
    if source is None or predictions is not None or annotations is not None:
        if predictions is None or annotations is None or source is not None:
            fix = "give a checkpoint or a recipe, or else --predictions and --annotations"
            raise ConfigError("det eval", "needs either a model or two files", fix=fix)
        evaluate_files = registry.find("commands", "eval --predictions", "--predictions").resolve()
        evaluate_files(predictions, annotations, as_json, report, images, options)
        return
    refuse_faults(source, overrides, ("model", "data"), (split or "test",), weights)
    analysis = installed_analysis(options, "--report" if report is not None else "--analysis" if options else "")
    from det_core.engine.distributed import local_device, process_group

    with process_group() as place:
        model, data = _load(source, weights, local_device(device), overrides, trust, tta)
        split = split or ("val" if data.test is None else "test")
        result, why = _evaluate(model, data, split, batch_size, loss, save_predictions, analysis, place)
    if place[0] > 0:  # rank 0 reports for all
        return
    title = f"{source}, {split}: {len(data.dataset(split))} images"
    if as_json:
        reasons = {} if why is None else why.as_json()
        echo(
            json.dumps(
                {"metrics": result.metrics, "threshold": result.threshold, "notes": result.notes, **reasons}, indent=2
            )
        )
    else:
        show(result, title)
        if why is not None:
            why.show()
    if report is not None and why is not None:
        echo(f"{why.write_report(report, title, result.metrics, result.notes)}", err=True)


def load_with_data(
    source: str, weights: str | None, device: str | None, overrides: Sequence[str], trust: bool
) -> "tuple[Detector, Any]":
    """The detector, and the data that its recipe names; errors as of `Detector.load`.

    Raises:
        RecipeError: the recipe has no data.
    """
    from det_core.predict.detector import Detector

    detector = Detector.load(source, weights, device, overrides=overrides, trust=trust)
    if detector.recipe is None or "data" not in detector.recipe.tree:
        raise RecipeError(source, "has no section `data`", fix="give a recipe that has one, and --weights")
    return detector, detector.recipe.build("data")


def _load(
    source: str, weights: str | None, device: str | None, overrides: tuple[str, ...], trust: bool, tta: bool
) -> tuple[Any, Any]:
    """The model, and its data."""
    detector, data = load_with_data(source, weights, device, overrides, trust)
    if tta:  # the views resize the images themselves
        return detector.augmented().model, dataclasses.replace(data, eval_transforms=())
    return detector.model, data


def _evaluate(
    model: Any,
    data: Any,
    split: str,
    batch_size: int,
    loss: bool,
    save_predictions: Path | None,
    analysis: "Factory[Analysis] | None",
    place: tuple[int, int],
) -> "tuple[Evaluation, Explanation | None]":
    """The metrics, and in rank 0 their explanation by an installed analysis."""
    from det_core.data import LeftOutWarning, left_out_notes
    from det_core.engine import Display, check_classes, evaluate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeftOutWarning)  # it is among the notes
        dataset = data.dataset(split)
    check_classes(model, dataset)
    evaluators = data.build_evaluators(split)
    analyses = [] if analysis is None else [analysis(classes=dataset.classes)]
    if save_predictions is not None:
        results_file = known.function("det eval --save-predictions")
        evaluators.append(results_file(dataset.classes, save_predictions, getattr(dataset, "category_ids", None)))
    with Display() as display:
        batches = data.eval_loader(split, batch_size, *place)
        tracked_batches = batches if place[0] else display.track(batches, f"evaluate on {split}")
        result = evaluate(model, tracked_batches, [*evaluators, *analyses], losses=loss)
        result = dataclasses.replace(result, notes=(*left_out_notes(dataset, f"data.{split}"), *result.notes))
        if place[0] or not analyses:
            return result, None
        return result, analyses[0].explain(evaluators, model, lambda: data.eval_loader(split, batch_size))


def show(result: "Evaluation", title: str) -> None:
    """Print the metrics as a table, and the notes."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in result.metrics.items():
        table.add_row(cell(short_name(name, 100)), f"{value:.4f}")
    console = Console(highlight=False)
    console.print(printable(title), markup=False, soft_wrap=True)
    console.print(table)
    if result.threshold is not None:
        console.print(f"F1 is best for scores from {result.threshold:.2f}", highlight=False)
    for note in result.notes:
        console.print(printable(short_name(note, _LONGEST)), markup=False, soft_wrap=True)
