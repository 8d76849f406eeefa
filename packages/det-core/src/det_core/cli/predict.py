"""`det predict`: find objects in images, draw them, and write them down."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from det_core.cli.faults import refuse_faults
from det_core.cli.inputs import Input, find_images, image_ids, picture_names
from det_core.cli.output import echo
from det_core.cli.output_folder import OutputFolder
from det_core.errors import DataError
from det_core.plugins import registry

if TYPE_CHECKING:
    from det_core.predict import Detector, Result
    from det_core.predict.writers import Writer

__all__ = ["command"]

_SAVED = ("json", "pictures", "segments")
_TRIAL = 2  # images on which --fast chooses


_HELP = """\
Find objects in IMAGES: files, folders with all images in them, patterns such as "photos/*.jpg", or addresses.

Each image is drawn with its objects, into a file of the same name. predictions.json holds all detections in the
COCO results format, with the name of the file. Its image_id is the number that a file is called by, if all are
called by numbers, as COCO's are; otherwise images count from 1. An image that cannot be read is reported, the rest
goes on, and the exit code is 1.

Segments are drawn too; panoptic.json and the folder panoptic hold them in the COCO panoptic format. Of a semantic
model, the folder semantic holds a PNG of labels per image.

\b
Example:
  det predict photos/ --model runs/cells/best.safetensors --output found
"""


@click.command(short_help="Find objects in images and draw them.", help=_HELP)
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@click.option("--model", required=True, metavar="CHECKPOINT", help="A checkpoint, the folder of a run, or a recipe.")
@click.option("--weights", metavar="FILE", help="The weights, if --model is a recipe.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="A new folder, or that of an earlier call, whose files are replaced; by default predictions/, or none with "
    "--json.",
)
@click.option(
    "--save",
    multiple=True,
    metavar="NAME",
    help="What to write, by the name of a writer that `det plugins` lists, such as csv or yolo; may be repeated. "
    f"By default {', '.join(_SAVED)}.",
)
@click.option("--crops", is_flag=True, help="Also write each object as a picture of its own: --save crops.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Score threshold; by default the checkpoint's, or 0.5.")
@click.option("--classes", multiple=True, metavar="NAMES", help="Only these, separated by commas; may be repeated.")
@click.option("--max", "limit", type=click.IntRange(1), metavar="N", help="At most N objects of an image, the best.")
@click.option("--hide-labels", is_flag=True, help="Draw no names and scores.")
@click.option("--line-width", type=click.IntRange(1), metavar="PIXELS", help="Of boxes; by default by the image.")
@click.option(
    "--tile", type=click.IntRange(1), metavar="PIXELS", help="Predict on tiles of this size. Needs det-inspect."
)
@click.option("--overlap", type=click.FloatRange(0, 0.9), default=0.2, show_default=True, help="Share of a tile.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images at once; by default 8, and 1 on a CPU.")
@click.option("--device", help="cpu, cuda, mps ...; by default the best there is.")
@click.option(
    "--tta", is_flag=True, help="Nine sizes of each image, and mirrored: 18 times the work. Needs det-inspect."
)
@click.option(
    "--fast", is_flag=True, help="Fold norms, and use bf16 if the first images agree in it. Needs det-inspect."
)
@click.option("--trust", is_flag=True, help="Run code that the checkpoint names outside the installed plugins.")
@click.option("--json", "as_json", is_flag=True, help="Print the detections in the COCO results format.")
@click.pass_context
def command(
    context: click.Context,
    images: tuple[str, ...],
    model: str,
    weights: str | None,
    output: Path | None,
    save: tuple[str, ...],
    crops: bool,
    threshold: float | None,
    classes: tuple[str, ...],
    limit: int | None,
    hide_labels: bool,
    line_width: int | None,
    tile: int | None,
    overlap: float,
    batch_size: int | None,
    device: str | None,
    tta: bool,
    fast: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """Find objects in images, draw them, and write them down."""
    save = (*(save or _default_writers(as_json and output is None)), *["crops"] * crops)
    inputs, skipped = find_images(images, output := output or Path("predictions"))
    refuse_faults(model, (), ("model",), (), weights)
    files = _Files(OutputFolder(output), save, {"labels": not hide_labels, "line_width": line_width}) if save else None
    tiled = registry.find("commands", "predict --tile", "--tile").resolve() if tile else None
    if skipped:
        echo(skipped, err=True)
    from det_core.predict import Detector

    detector = Detector.load(model, weights, device, trust=trust)
    level = detector.threshold if threshold is None else threshold
    names = [name for text in classes for name in ([text] if text in detector.classes else text.split(","))] or None
    run: Any = _optimized(detector, inputs, level) if fast else detector
    run = run.augmented() if tta else run
    run = tiled(run, tile, overlap) if tiled else run
    # Tiles are merged above the threshold; elsewhere the best score below it is reported.
    results = _results(run, inputs, batch_size or detector.batch_size, level if tiled else 0)
    filtered = (each if isinstance(each, DataError) else each.filtered(level, names, limit) for each in results)
    entries, unread = _write(filtered, inputs, files, as_json)
    if files is not None and files.written:
        count = len(inputs) - unread
        amount = f"{count} image{'s' * (count != 1)}, scores from {level:.2f}"
        echo(f"{amount}; in {output}: {files.written}", err=as_json)
    if as_json:
        echo(json.dumps(entries, indent=1))
    if unread:
        echo(f"{unread} of {len(inputs)} image{'s' * (len(inputs) != 1)} could not be read", err=True)
        context.exit(1)


def _optimized(detector: "Detector", inputs: Sequence[Input], level: float) -> "Detector":
    """A faster copy, chosen on the first readable images where there are enough of them to be worth a trial."""
    from det_core.predict.urls import read_image_at

    trial: list[Any] = []
    for each in inputs[:_TRIAL] if len(inputs) >= 10 * _TRIAL else ():
        with contextlib.suppress(DataError):  # reported when its turn comes
            trial.append(read_image_at(each.source))
    faster = detector.optimize(trial, threshold=level)
    echo(faster.optimization or f"norms folded; bf16 is tried where there are at least {10 * _TRIAL} images", err=True)
    return faster


def _default_writers(nothing: bool) -> list[str]:
    """Those of `_SAVED` that installed plugins offer; none for `nothing`."""
    names = {component.name for component in registry.components("writers")}
    return [] if nothing else [name for name in _SAVED if name in names]


class _Files:
    """The writers of a run and their folder, which is made with the first result."""

    def __init__(self, folder: OutputFolder, save: Sequence[str], drawing: Mapping[str, Any]) -> None:
        self._folder, self._drawing = folder, drawing
        makers = [registry.find("writers", name, "--save").load("--save") for name in dict.fromkeys(save)]
        self._makers: Sequence[Callable[..., Writer]] = makers
        self.writers: list[Writer] | None = None
        self.written = ""

    def write(self, result: "Result", name: Any) -> None:
        """Give a result to each writer."""
        if self.writers is None:
            from det_core.predict.writers import build_writer

            self._folder.open()
            self.writers = [build_writer(make, self._folder.path, self._drawing) for make in self._makers]
        for writer in self.writers:
            writer.write(result, name)

    def finish(self) -> None:
        """Let each writer end its files, and name them in `written`."""
        try:
            for writer in self.writers or ():
                writer.finish()
        finally:
            if self.writers is not None:
                self.written = self._folder.close()


def _write(
    results: "Iterable[Result | DataError]", inputs: Sequence[Input], files: _Files | None, as_json: bool
) -> tuple[list[dict[str, Any]], int]:
    """Give each result to the writers and print its line; returns the entries for --json, and how many were unread."""
    from det_core.engine import Display
    from det_core.predict.writers import ImageName

    files_of = [each.name for each in inputs]
    fields = image_ids(files_of), files_of, picture_names(files_of), [each.source for each in inputs]
    names = [ImageName(*each) for each in zip(*fields, strict=True)]
    entries: list[dict[str, Any]] = []
    unread = 0
    try:
        with Display() as display:
            for result, each, name in zip(display.track(results, "predict", len(inputs)), inputs, names, strict=True):
                if isinstance(result, DataError):
                    echo(f"error: {result}", err=True)
                    unread += 1
                    continue
                if files is not None:
                    files.write(result, name)
                if as_json and result.prediction.detections is not None:
                    entries += [{**entry, "file_name": name.file_name} for entry in result.to_coco(name.id)]
                echo(f"{each.source}: {result.summary()}", err=as_json)
    finally:
        if files is not None:
            files.finish()
    return entries, unread


def _results(
    detector: "Detector", inputs: Sequence[Input], batch_size: int, level: float
) -> "Iterator[Result | DataError]":
    """For each image the result, with scores from `level`, or why it cannot be read."""
    from det_core.predict.urls import read_image_at

    for start in range(0, len(inputs), batch_size):
        outcomes: dict[int, Result | DataError] = {}
        pixels = {}
        for number, each in enumerate(inputs[start : start + batch_size]):
            try:
                pixels[number] = read_image_at(each.source)
            except DataError as error:
                outcomes[number] = error
        outcomes |= zip(pixels, detector(pixels.values(), level, batch_size), strict=True)
        yield from (outcomes[number] for number in sorted(outcomes))
