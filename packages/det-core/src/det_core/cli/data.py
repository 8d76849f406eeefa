"""`det data`: what is in a dataset, what is wrong with it, and the same in another format."""

from pathlib import Path
from typing import Any

import click

from det_core.cli.data_sources import Sources, source_options

__all__ = ["command"]


@click.group()
def command() -> None:
    """Check a dataset, and convert between COCO, VOC and YOLO."""


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
@click.option("--skip-bad", is_flag=True, help="Leave out entries that cannot be used, and tell of them.")
def convert(sources: Sources, to: Any, output: Path, files: Any, skip_bad: bool) -> None:
    """Write a dataset in another format, and say what that has no place for.

    RECIPE names the dataset, or the options tell its files. Every split is written into the same folder.

    \b
    Examples:
      det data convert --annotations cells.json --images photos --to yolo -o cells-yolo
      det data convert --format voc --folder VOC2007 --split train --split val --to coco -o voc-coco
    """
    from det_core.data import convert as write

    for split, listing in sources.listings().items():
        done = write(listing, to, output, split, files, "skip" if skip_bad else "stop")
        click.echo(f"{split}: {done.images} images with {done.objects} objects, in {done.files[0]}")
        for what, count in done.lost.items():
            click.echo(f"  not kept: {what} ({count})")
        for sentence in done.skipped:
            click.echo(f"  left out: {sentence}")
        if to == "voc":
            names = ", ".join(each["name"] for each in sorted(listing.content["categories"], key=lambda c: c["id"]))
            click.echo(f"  classes in this order: {names}")
