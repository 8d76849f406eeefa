"""`det data`: dataset checks, pictures and conversions."""

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from det_core.cli.output import echo
from det_core.errors import ConfigError
from det_core.zoo.class_names import short_name

from det_inspect.cli.data_sources import Sources, source_options
from det_inspect.counting import counted

if TYPE_CHECKING:
    from det_inspect.datasets.report import Report

__all__ = ["command", "track"]

_MAX_LISTED, _CLASSES, _WORDS = 10, 20, 400
_SECONDS = 10.0


@click.group()
def command() -> None:
    """Check, show, convert and split datasets."""


@command.command()
@source_options
@click.option("--to", type=click.Choice(["coco", "voc", "yolo"]), required=True, help="The format to write.")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="The folder to write into."
)
@click.option(
    "--files",
    type=click.Choice(["copy", "link", "leave"]),
    default="copy",
    show_default=True,
    help="What to do with the images.",
)
@click.option("--skip-bad", is_flag=True, help="Leave out entries that cannot be used, and report them.")
def convert(sources: Sources, to: Any, output: Path, files: Any, skip_bad: bool) -> None:
    """Convert a dataset to another format, and list what that format cannot store.

    RECIPE names the dataset, or the options name its files. Every split is written into the same folder.

    \b
    Examples:
      det data convert --annotations cells.json --images photos --to yolo -o cells-yolo
      det data convert --format voc --folder VOC2007 --split train --split val --to coco -o voc-coco
    """
    from det_inspect.datasets.convert import convert as write

    for split, listing in sources.listings().items():
        done = write(listing, to, output, split, files, "skip" if skip_bad else "stop")
        echo(f"{split}: {counted(done.images, 'image')} with {counted(done.objects, 'object')}, in {done.files[0]}")
        for what, count in done.lost.items():
            echo(f"  not kept: {what} ({count})")
        for sentence in done.skipped:
            echo(f"  left out: {sentence}")
        if to == "voc":
            names = ", ".join(each["name"] for each in sorted(listing.content["categories"], key=lambda c: c["id"]))
            echo(f"  classes in this order: {names}")


@command.command()
@source_options
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Also write a page.")
@click.option("--heads", is_flag=True, help="Read only the heads of images: fast, but finds no damage and no copies.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every defect.")
def check(sources: Sources, html: Path | None, heads: bool, as_json: bool) -> None:
    """Count the images and objects of a dataset, and list its defects.

    RECIPE names the datasets, or the options name their files. All splits are compared with each other, too. Exits with
    1 if there is a defect.

    \b
    Examples:
      det data check faster_rcnn_r50_fpn_1x --html report.html
      det data check --images photos --annotations cells_train.json --annotations cells_val.json
    """
    from det_inspect.datasets.check import check as check_data

    report = check_data(sources.readers(), pixels=not heads, track=track)
    if html is not None:
        from det_inspect.datasets.page import data_page

        html.write_text(data_page(report, " and ".join(sources.titles())), "utf-8")
    if as_json:
        echo(json.dumps(report.to_json(), indent=1))
    else:
        _show(report, heads)
        if html is not None:
            echo(f"\nThe page is in {html}.")
    if report.defects:
        raise SystemExit(1)


@command.command()
@source_options
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The picture to write."
)
@click.option("--count", type=click.IntRange(1, 100), default=9, show_default=True, help="How many pictures.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of order and augmentation.")
@click.option("--stored", is_flag=True, help="Draw the pictures as stored, not as the network gets them.")
def show(sources: Sources, output: Path, count: int, seed: int, stored: bool) -> None:
    """Draw pictures with their ground truth, as the network gets them: augmented, normalized and back, padded.

    RECIPE names the datasets, and --split which one, by default train. Files named by options are drawn as stored.

    \b
    Examples:
      det data show examples/blood-cells/recipe.yaml -o train.jpg
      det data show examples/blood-cells/recipe.yaml --split val -o val.jpg
      det data show --annotations cells.json --images photos -o cells.jpg
    """
    from det_core import recipes

    from det_inspect.datasets.show import network_pictures, stored_pictures
    from det_inspect.panels import contact_sheet

    factories = sources.factories()
    split = next(iter(factories))
    if sources.recipe is None or stored:
        pictures = [*stored_pictures(factories[split](), count, seed)]
    else:
        pictures = [*network_pictures(recipes.load(sources.recipe, sources.overrides), split, count, seed)]
    columns = math.ceil(math.sqrt(len(pictures)))
    try:
        contact_sheet(pictures, columns).save(output)
    except (OSError, ValueError) as error:
        fix = "name a file that ends in .png or .jpg, in a folder that exists"
        raise ConfigError(str(output), "the picture cannot be written", str(error), fix) from error
    echo(f"{split}: {counted(len(pictures), 'picture')} in {output}")


def track(items: Iterable[Any], count: int, name: str) -> Iterable[Any]:
    """The items, with a progress bar on a terminal, or otherwise a line now and then."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not console.is_terminal:
        return _in_lines(items, count, name)
    return track(items, name, count, console=console, transient=True)


def _in_lines(items: Iterable[Any], count: int, name: str) -> Iterator[Any]:
    """The items, with a line on standard error every few seconds."""
    due = time.monotonic() + _SECONDS
    for number, item in enumerate(items):
        if time.monotonic() >= due:
            click.echo(f"{name}: {number} of {count} images", err=True)
            due = time.monotonic() + _SECONDS
        yield item


def _show(report: "Report", heads: bool = False) -> None:
    for name, split in report.splits.items():
        figures = split.summary()
        echo(f"{name}: {counted(figures['images'], 'image')}, {counted(figures['objects'], 'object')}")
        for key in ("images without objects", "crowds", "with masks", "with keypoints"):
            if figures[key]:
                echo(f"  {key}: {figures[key]}")
        for key in ("image width", "image height", "object side"):
            if (span := figures[key]) is not None:
                echo(f"  {key}: {span['min']:g} to {span['max']:g} pixels, median {span['median']:g}")
        sizes = ", ".join(f"{count} {size}" for size, count in figures["object sizes"].items())
        echo(f"  object sizes: {sizes}")
        for what, count in figures["left out"].items():
            echo(f"  {what}, left out: {count}")
        _show_classes(figures["classes"])
    counts = report.counts()
    for kind, count in counts.items():
        echo(f"\n{kind}: {count}")
        for defect in [each for each in report.defects if each.kind == kind][:_MAX_LISTED]:
            elsewhere = defect.image is not None and str(defect.image) != defect.file
            image = f" (in {defect.image.name})" if defect.image is not None and elsewhere else ""
            echo(f"  {defect.split}: {short_name(defect.file, _WORDS)}: {short_name(defect.text, _WORDS)}{image}")
        if count > _MAX_LISTED:
            echo(f"  and {count - _MAX_LISTED} more; --json lists all")
    unread = " The pixels of the images were not read." if heads else ""
    echo(f"\n{counted(sum(counts.values()), 'defect')}.{unread}" if counts else f"\nNo defect was found.{unread}")


def _show_classes(classes: Mapping[str, Mapping[str, int]]) -> None:
    """The classes with most objects, each with a bar, and the number of the others."""
    ordered = sorted(classes.items(), key=lambda item: -item[1]["objects"])
    rows = [(short_name(name), count) for name, count in ordered[:_CLASSES]]
    width, most = max((len(name) for name, _ in rows), default=0), ordered[0][1]["objects"] if ordered else 0
    for name, count in rows:
        bar = "#" * round(30 * count["objects"] / most) if most else ""
        echo(f"  {name:{width}} {count['objects']:7} in {count['images']:6} images  {bar}".rstrip())
    if rest := ordered[_CLASSES:]:
        absent = sum(not count["objects"] for _, count in rest)
        echo(f"  and {counted(len(rest), 'more class', 'more classes')}, {absent} of them without any object")
