"""`det ray eval`: the metrics of `det eval`, by many workers."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from det_core.cli.output import echo
from det_core.errors import DataError

from det_ray.cli.common import cluster_options, resumable, worker_options

if TYPE_CHECKING:
    from det_core.engine import Evaluation

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
@cluster_options
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True, metavar="B", help="Images at once.")
@click.option(
    "--block", type=click.IntRange(1), default=_BLOCK, show_default=True, help="Images that are done at once."
)
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON.")
def command(**arguments: Any) -> None:
    """Evaluate a model by many workers."""
    from det_core.cli.eval import show

    from det_ray.folder import RunFolder

    folder = RunFolder(arguments["output"].absolute())
    with resumable(folder):
        title, result = _run(folder, arguments)
    if arguments["as_json"]:
        content = {"metrics": result.metrics, "threshold": result.threshold, "notes": result.notes}
        echo(json.dumps(content, indent=2))
    else:
        show(result, title)


def _run(folder: "RunFolder", arguments: Mapping[str, Any]) -> "tuple[str, Evaluation]":
    """Title and result."""
    from det_core.data import LeftOutWarning, left_out_notes
    from det_core.engine.evaluate import result_of

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
    result = result_of(evaluators)
    result = replace(result, notes=(*notes, *result.notes))
    return f"{arguments['source']}, {split}: {len(dataset)} images", result


def _options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What workers need, but for the hash of the model."""
    options = worker_options(arguments, arguments["source"])
    options |= {name: arguments[name] for name in ("split", "batch")}
    return options | {"overrides": list(arguments["overrides"]), "here": str(Path.cwd())}
