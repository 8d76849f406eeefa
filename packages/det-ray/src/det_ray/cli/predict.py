"""`det ray predict`: find objects in millions of images, by many workers, each image exactly once."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from det_core.cli.output import echo
from det_core.errors import ConfigError

from det_ray.cli.common import cluster_options, resumable, worker_options

if TYPE_CHECKING:
    from det_ray.folder import RunFolder
    from det_ray.plan import Plan
    from det_ray.summary import Totals

__all__ = ["command"]

_BLOCK = 256

_HELP = """\
Find objects in all images of SOURCE: a folder, a pattern such as "photos/*.jpg", a list of paths (.txt), Parquet files
with images or their paths, or tar files (WebDataset); local, or at an address of fsspec, such as s3://bucket/photos.

The folder DIR/blocks then holds Parquet files with a row for each image, and DIR/index.html a summary. Images that
cannot be read are rows with the reason, and the exit code is 1. A run that was interrupted in any way goes on with the
same command.

Without --address, Ray is started on this machine, and ended with the command.

\b
Example:
  det ray predict photos/ --model runs/cells --output found --workers 4
"""


@click.command(short_help="Find objects in millions of images.", help=_HELP)
@click.argument("source", metavar="SOURCE")
@click.option(
    "--model",
    required=True,
    metavar="CHECKPOINT",
    help="A checkpoint, the folder of a run, an exported file, or a recipe.",
)
@click.option("--weights", metavar="FILE", help="The weights, if --model is a recipe.")
@cluster_options
@click.option("--batch", type=click.IntRange(1), metavar="B", help="Images at once; by default 8 on a GPU, 1 on a CPU.")
@click.option(
    "--block",
    type=click.IntRange(1),
    default=_BLOCK,
    show_default=True,
    metavar="IMAGES",
    help="Images in a file of results.",
)
@click.option("--column", metavar="NAME", help="Column of Parquet files that holds the images or their paths.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Score threshold; by default the checkpoint's, or 0.5.")
@click.option("--retry-bad", is_flag=True, help="Predict blocks with bad images again.")
@click.pass_context
def command(context: click.Context, **arguments: Any) -> None:
    """Find objects in millions of images, by many workers."""
    from det_ray.folder import RunFolder

    folder = RunFolder(arguments["output"].absolute())
    _require_apart(arguments["source"], folder.path)
    with resumable(folder):
        bad = _run(folder, arguments)
    if bad:
        context.exit(1)


def _require_apart(source: str, output: Path) -> None:
    place = Path(source).absolute()
    if "://" not in source and (place == output or place in output.parents):
        fix = "choose a folder outside of it"
        raise ConfigError("--output", f"lies in the source {source}, whose images it would join", fix=fix)


def _run(folder: "RunFolder", arguments: Mapping[str, Any]) -> int:
    """Predict what is left; returns the number of bad images of all blocks."""
    from det_ray.cluster import Resources
    from det_ray.runs import complete_run
    from det_ray.summary import Totals
    from det_ray.worker import PredictWorker

    began = time.time()
    options, settings, model = _options(arguments)
    with folder.locked():
        plan = _plan(folder, settings, model)
        options |= {"examples": plan.about["examples"], "versions": plan.about["versions"]}
        need = Resources(arguments["workers"], arguments["cpus_per_worker"], arguments["gpus_per_worker"])
        totals = Totals()
        retry = arguments["retry_bad"]
        complete_run(
            folder,
            plan,
            PredictWorker,
            options,
            need,
            arguments["address"],
            lambda summary: totals.add(summary, since=began),
            lambda summary: retry and summary["bad"] > 0,
        )
        _finish(folder, plan, totals, time.time() - began)
    return totals.bad


def _options(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What workers need, the settings that decide the results, and the model; it is loaded once, to check it."""
    from det_ray.plan import fingerprint
    from det_ray.sources import absolute
    from det_ray.worker import load_detector

    options = worker_options(arguments, arguments["model"]) | {"column": arguments["column"]}
    detector = load_detector({**options, "device": "cpu"})
    options["sha256"] = fingerprint(detector)
    options["threshold"] = detector.threshold if arguments["threshold"] is None else arguments["threshold"]
    options["batch"] = arguments["batch"] or (8 if options["device"] == "cuda" else 1)
    names = ("threshold", "batch", "column", "device")
    settings = {**{name: options[name] for name in names}, "block": arguments["block"]}
    settings["source"] = absolute(arguments["source"])
    model = {"source": options["model"], "sha256": options["sha256"], "classes": list(detector.classes)}
    return options, settings, {**model, "category_ids": list(detector.category_ids)}


def _plan(folder: "RunFolder", settings: Mapping[str, Any], model: Mapping[str, Any]) -> "Plan":
    """The plan in the folder, or a new one of the source."""
    from det_ray.plan import make_plan, read_plan
    from det_ray.rows import DISTRIBUTIONS, versions_of
    from det_ray.sources import list_source

    if folder.exists:
        return read_plan(folder, settings, model)
    entries = list_source(settings["source"], settings["column"], settings["block"])
    plan = make_plan(folder, settings, {"model": model, "versions": versions_of(DISTRIBUTIONS)}, entries)
    known = f"{plan.about['images']:,} images" if plan.about["images"] else f"{len(entries):,} files"
    echo(f"{settings['source']}: {known} in {plan.about['blocks']:,} blocks", err=True)
    return plan


def _finish(folder: "RunFolder", plan: "Plan", totals: "Totals", seconds: float) -> None:
    """Write the page, and print the last lines."""
    from det_ray.summary import write_page

    page, new = folder.path / "index.html", totals.new_images
    pace = f"{new:,} images in {seconds:,.0f} s, {new / max(seconds, 1e-9):,.1f} a second, start included"
    if new or not page.exists():
        write_page(page, plan.about, totals, sorted(folder.examples.glob("*.jpg")), pace)
    objects = sum(totals.objects.values())
    bad = f", {totals.bad:,} of them bad" if totals.bad else ""
    echo(f"{totals.images:,} images{bad}, {objects:,} objects; {pace}")
    echo(f"results in {folder.blocks}, summary in {page}")
