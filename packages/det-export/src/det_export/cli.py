"""`det export`: a model as a file that other runtimes read, checked against the model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from det_core.cli.output import cell, echo
from det_core.errors import ConfigError

if TYPE_CHECKING:
    from det_export.check import Agreement

__all__ = ["command"]

_EXAMPLE = (416, 544)


@click.command(short_help="Write a model to a file for another runtime.")
@click.argument("model")
@click.option("--format", "form", required=True, metavar="NAME", help="onnx, torch_export, or another exporter's name.")
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--weights", metavar="FILE", help="The weights, if MODEL is a recipe.")
@click.option("--size", nargs=2, type=click.IntRange(min=1), metavar="H W", help="Fix the size of the input.")
@click.option("--dynamic", is_flag=True, help="Leave height and width free, which is the default.")
@click.option("--batch", type=click.IntRange(1, 64), default=1, show_default=True, help="Images at once.")
@click.option("--precision", type=click.Choice(["fp32"]), default="fp32", show_default=True)
@click.option(
    "--check",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Pictures to check the file on; by default three that det-export brings.",
)
@click.option("--trust", is_flag=True, help="Run code that the checkpoint names outside the installed plugins.")
def command(
    model: str,
    form: str,
    output: Path,
    weights: str | None,
    size: tuple[int, int] | None,
    dynamic: bool,
    batch: int,
    precision: str,
    folder: Path | None,
    trust: bool,
) -> None:
    """Write MODEL (a checkpoint, the folder of a run, or a recipe) to FILE, and compare what FILE computes.

    The file is run on pictures at three sizes that it was not exported at, and on a black one. Exit code 1 if it fails
    or differs from the model.

    \b
    Examples:
      det export runs/cells --format onnx --output cells.onnx
      det export runs/cells --format torch_export --output cells.pt2 --check photos
    """
    if size and dynamic:
        raise ConfigError("--size", "fixes what --dynamic leaves free", fix="give one of them")
    from det_core.plugins import registry

    from det_export.check import pictures

    images = pictures(folder)
    exporter = registry.find("exporters", form, "det export").load()(dynamic=not size)
    if hasattr(exporter, "require"):
        exporter.require()
    agreement = _export(model, weights, trust, exporter, output, size, batch, images)
    if not agreement.agrees:
        echo("the file does not compute what the model does; the file stays, to be looked into", err=True)
        raise SystemExit(1)


def _export(
    model: str,
    weights: str | None,
    trust: bool,
    exporter: Any,
    output: Path,
    size: tuple[int, int] | None,
    batch: int,
    images: list[Path],
) -> "Agreement":
    import torch
    from det_core.models.cpu import accelerate
    from det_core.predict import Detector
    from det_core.structures import ImageBatch

    from det_export.check import compare, sizes_for

    detector = Detector.load(model, weights, "cpu", trust=trust)
    exporter.about = detector.about_for_export()
    shape = size or _EXAMPLE
    example = ImageBatch(pixels=torch.zeros(batch, 3, *shape, dtype=torch.uint8), sizes=(shape,) * batch)
    written = exporter.export(detector.model, example, output)
    echo(f"{written}: written, {written.stat().st_size / 1e6:.1f} MB; checking it")
    loaded = exporter.load(written)
    plain = accelerate(detector.model, on=False)
    agreement = compare(plain, loaded, images, sizes_for(loaded, shape), written)
    if hasattr(exporter, "record"):
        exporter.record(written, agreement.as_dict())
    _show(agreement)
    return agreement


def _show(agreement: "Agreement") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("image", "size", "detections", "matched", "px", "scores", "masks", "pixels", "ms", "same"):
        table.add_column(name, justify="left" if name == "image" else "right", no_wrap=True)
    for row in agreement.rows:
        figures = (f"{row.matched:.0%}", f"{row.boxes:.0e}", f"{row.scores:.0e}", f"{row.masks:.3f}")
        times = "/".join(f"{each:.0f}" for each in row.milliseconds)
        shown = (f"{row.size[0]}x{row.size[1]}", f"{row.expected}/{row.found}", *figures, f"{row.semantic:.1%}")
        table.add_row(cell(row.image), *shown, times, "yes" if row.agrees else "NO")
    Console(highlight=False).print(table)
    for problem in dict.fromkeys(row.problem for row in agreement.rows if row.problem):
        echo(problem, err=True)
    echo("detections and milliseconds of the model / of the file, matched by label and overlap;")
    echo(f"largest differences of boxes in pixels and of scores; {agreement.megabytes:.1f} MB")
