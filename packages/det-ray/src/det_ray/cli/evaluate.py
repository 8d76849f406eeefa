"""`det ray eval`: the metrics of `det eval`, by many workers."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from det_core.cli.output import cell, echo
from det_core.errors import ConfigError, DataError
from det_core.printable import printable

if TYPE_CHECKING:
    from det_ray.folder import RunFolder

__all__ = ["command"]

_BLOCK = 64

_HELP = """\
Evaluate a checkpoint, which knows its own data, or a recipe and weights, by many workers.

The metrics are those of `det eval` with the same --batch, to the last bit, if each worker has as many CPU cores as
there are threads (OMP_NUM_THREADS). A run that was interrupted goes on with the same command.

\b
Example:
  det ray eval runs/cells --output evaluated --workers 4
"""


@click.command(short_help="Evaluate a model by many workers.", help=_HELP)
@click.argument("source", metavar="CHECKPOINT_OR_RECIPE")
@click.option("--weights", metavar="FILE", help="The weights to evaluate, if a recipe is given.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="By default test, or val without a test.")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change a value of the recipe.")
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="For what is done, on a file system of all machines.",
)
@click.option("--address", envvar="RAY_ADDRESS", help="Of a Ray cluster, such as auto, HOST:6379 or ray://HOST:10001.")
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Each has one model."
)
@click.option("--cpus-per-worker", type=click.FloatRange(0, min_open=True), default=1, show_default=True, metavar="C")
@click.option("--gpus-per-worker", type=click.FloatRange(0), default=0, show_default=True, metavar="G")
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True, metavar="B", help="Images at once.")
@click.option(
    "--block", type=click.IntRange(1), default=_BLOCK, show_default=True, help="Images that are done at once."
)
@click.option("--trust", is_flag=True, help="Run code that the checkpoint names outside the installed plugins.")
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON.")
@click.pass_context
def command(context: click.Context, **arguments: Any) -> None:
    """Evaluate a model by many workers."""
    from det_ray.folder import RunFolder
    from det_ray.runs import state_of

    folder = RunFolder(arguments["output"].absolute())
    try:
        title, metrics, notes, threshold = _run(folder, arguments)
    except OSError as error:
        raise ConfigError("--output", "cannot be written", str(error), "the same command goes on") from error
    except KeyboardInterrupt:
        echo(f"Stopped; {state_of(folder)}. The same command goes on.", err=True)
        context.exit(130)
    if arguments["as_json"]:
        echo(json.dumps({"metrics": metrics, "threshold": threshold, "notes": notes}, indent=2))
    else:
        _show(title, metrics, notes, threshold)


def _run(folder: "RunFolder", arguments: Mapping[str, Any]) -> tuple[str, dict[str, float], list[str], float | None]:
    """Title, metrics, notes and the threshold of the best F1."""
    from det_core.data import LeftOutWarning, left_out_notes

    from det_ray.cluster import Resources
    from det_ray.evaluation import EvalWorker, load_evaluated, merged
    from det_ray.plan import fingerprint, make_plan, read_plan
    from det_ray.rows import DISTRIBUTIONS, versions_of
    from det_ray.runs import complete_run
    from det_ray.sources import Entry

    options = _options(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeftOutWarning)  # it is among the notes
        detector, data, split = load_evaluated({**options, "device": "cpu"})
    dataset, batch = data.dataset(split), arguments["batch"]
    options["sha256"] = fingerprint(detector)
    if not len(dataset):
        raise DataError(f"data.{split}", "holds no image", fix="check the annotation file")
    block = max(batch, arguments["block"] // batch * batch)
    names = ("batch", "device", "overrides")
    settings = {**{name: options[name] for name in names}, "block": block, "split": split, "images": len(dataset)}
    model = {"source": options["model"], "sha256": options["sha256"]}
    need = Resources(arguments["workers"], arguments["cpus_per_worker"], arguments["gpus_per_worker"])
    with folder.locked():
        if folder.exists:
            plan = read_plan(folder, settings, model)
        else:
            starts = range(0, len(dataset), block)
            entries = [Entry(split, start, min(block, len(dataset) - start)) for start in starts]
            plan = make_plan(folder, settings, {"model": model, "versions": versions_of(DISTRIBUTIONS)}, entries)
        notes = list(left_out_notes(dataset, f"data.{split}"))
        summaries: list[Mapping[str, Any]] = []
        complete_run(folder, plan, EvalWorker, options, need, arguments["address"], summaries.append)
        for summary in sorted(summaries, key=lambda each: each["block"]):
            notes += summary["notes"]
        evaluators = data.build_evaluators(split)
        merged(folder, [each.number for each in plan.blocks], evaluators)
    metrics = {name: value for evaluator in evaluators for name, value in evaluator.result().items()}
    for evaluator in evaluators:
        notes += [f"no {name}: {reason}" for name, reason in getattr(evaluator, "notes", {}).items()]
    thresholds = (getattr(evaluator, "threshold", None) for evaluator in evaluators)
    threshold = next((each for each in thresholds if each is not None), None)
    return f"{arguments['source']}, {split}: {len(dataset)} images", metrics, notes, threshold


def _options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What workers need, but for the hash of the model."""
    from det_ray.sources import absolute

    paths = {"model": arguments["source"], "weights": arguments["weights"]}
    options: dict[str, Any] = {
        name: absolute(path) if path and Path(path).exists() else path for name, path in paths.items()
    }
    options |= {name: arguments[name] for name in ("split", "trust", "batch")}
    options |= {"overrides": list(arguments["overrides"]), "here": str(Path.cwd())}
    options["device"] = "cuda" if arguments["gpus_per_worker"] else "cpu"
    options["threads"] = max(1, int(arguments["cpus_per_worker"]))
    return options


def _show(title: str, metrics: Mapping[str, float], notes: list[str], threshold: float | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in metrics.items():
        table.add_row(cell(name), f"{value:.4f}")
    console = Console(highlight=False)
    console.print(printable(title), markup=False, soft_wrap=True)
    console.print(table)
    if threshold is not None:
        console.print(f"F1 is best for scores from {threshold:.2f}")
    for note in notes:
        console.print(printable(note), markup=False, soft_wrap=True)
