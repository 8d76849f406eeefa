"""`det predict`: find objects in images, draw them, and write them down."""

import glob
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from det_core.cli.output import echo
from det_core.errors import ConfigError, DataError
from det_core.plugins import registry

if TYPE_CHECKING:
    from det_core.predict import Detector, Result
    from det_core.predict.writers import ImageName, Writer

__all__ = ["command"]

_SAVED = ("json", "pictures", "segments")
_DIGITS = 18  # of a number that fits 64 bits
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".jp2", ".avif")


@click.command(short_help="Find objects in images and draw them.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@click.option("--model", required=True, metavar="CHECKPOINT", help="A checkpoint, the folder of a run, or a recipe.")
@click.option("--weights", metavar="FILE", help="The weights, if --model is a recipe.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the pictures and predictions.json go; by default predictions/, or nowhere with --json.",
)
@click.option(
    "--save",
    multiple=True,
    metavar="NAME",
    help="What to write, by the name of a writer that `det plugins` lists; may be repeated. "
    f"By default {', '.join(_SAVED)}.",
)
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="The least score.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images at once; by default 8, and 1 on a CPU.")
@click.option("--device", help="cpu, cuda, mps ...; by default the best there is.")
@click.option("--tta", is_flag=True, help="Look at each image at nine sizes and mirrored: 18 times as much work.")
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
    threshold: float,
    batch_size: int | None,
    device: str | None,
    tta: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """Find objects in IMAGES: files, folders of images, or patterns such as "photos/*.jpg".

    Each image is drawn with what was found, into a file of its name; beside a file of that name that det did not draw,
    such as the image itself, it is called NAME_2. predictions.json holds all detections in the COCO results format.
    Its image_id is the number that a file is called by, if all are called by numbers, as COCO's are; otherwise it
    counts from 1. The name of the file stands beside it. An image that cannot be read is told of, the rest goes on, and
    the exit code is 1.

    A model that tells segments is drawn with them; panoptic.json and the folder panoptic hold them in the COCO panoptic
    format. Of a model that tells only the class of each pixel, the folder semantic holds a PNG of labels per image.

    \b
    Example:
      det predict photos/ --model runs/cells/best.safetensors --output found
    """
    if output is None and (save or not as_json):
        output = Path("predictions")
    paths = list(_expanded(images, output))
    from det_core.predict import Detector

    detector = Detector.load(model, weights, device, trust=trust)
    if tta:
        detector = detector.augmented()
    writers = [] if output is None else _writers(save or _SAVED, output)
    names = _image_names(paths, output)
    results = _results(detector, paths, threshold, batch_size or detector.batch_size)
    entries, unread = _written(results, paths, names, writers, as_json)
    if writers:
        echo(_done(len(paths) - unread, save, output), err=as_json)
    if as_json:
        echo(json.dumps(entries, indent=1))
    if unread:
        echo(f"{unread} of {len(paths)} images could not be read", err=True)
        context.exit(1)


def _written(
    results: "Iterable[tuple[int, Result | DataError]]",
    paths: Sequence[Path],
    names: "Sequence[ImageName]",
    writers: "Sequence[Writer]",
    as_json: bool,
) -> tuple[list[dict[str, Any]], int]:
    """Give each result to the writers and print its line; returns the entries for --json, and how many were unread."""
    entries: list[dict[str, Any]] = []
    unread = 0
    for number, result in results:
        if isinstance(result, DataError):
            echo(f"error: {result}", err=True)
            unread += 1
            continue
        for writer in writers:
            writer.write(result, names[number])
        if as_json and result.prediction.detections is not None:
            entries += [{**each, "file_name": names[number].file_name} for each in result.to_coco(names[number].id)]
        echo(f"{paths[number]}: {result.summary()}", err=as_json)
    for writer in writers:
        writer.finish()
    return entries, unread


def _writers(names: Sequence[str], folder: Path) -> "list[Writer]":
    """One writer for each name; the folder is made once all are there."""
    makers = [registry.find("writers", name, "--save").load("--save") for name in dict.fromkeys(names)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("--output", "the folder cannot be made", str(error)) from error
    return [make(folder) for make in makers]


def _done(count: int, save: Sequence[str], output: Path | None) -> str:
    if save:
        return f"{', '.join(save)} of {count} image{'s' * (count != 1)}: in {output}"
    return f"{count} picture{'s' * (count != 1)} and predictions.json are in {output}"


def _expanded(images: Sequence[str], output: Path | None) -> Iterator[Path]:
    """The files that are meant; one that does not exist is among them, to be reported like any other bad image.

    Of a folder that is also the output, the pictures that an earlier run has drawn are left out.
    """
    for image in images:
        path = Path(image)
        if path.is_dir():
            within = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
            if output is not None and path.resolve() == output.resolve():
                from det_core.predict.picture_names import is_drawn

                within = [file for file in within if not is_drawn(file)]
            if not within:
                raise DataError(image, "the folder holds no image", fix=f"files must end in {', '.join(_SUFFIXES)}")
            yield from within
        elif not path.exists() and glob.has_magic(image):
            matching = sorted(glob.glob(image, recursive=True))  # noqa: PTH207 (Path.glob knows no absolute patterns)
            if not matching:
                raise DataError(image, "no file is called like this")
            yield from map(Path, matching)
        else:
            yield path


def _results(
    detector: "Detector", paths: Sequence[Path], threshold: float, batch_size: int
) -> Iterator[tuple[int, "Result | DataError"]]:
    """For each path, by its number and in order, what was found, or why the image cannot be read."""
    from det_core.data import read_image

    for start in range(0, len(paths), batch_size):
        outcomes: dict[int, Result | DataError] = {}
        pixels = {}
        for number in range(start, min(start + batch_size, len(paths))):
            try:
                pixels[number] = read_image(paths[number])
            except DataError as error:
                outcomes[number] = error
        outcomes |= zip(pixels, detector(pixels.values(), threshold, batch_size), strict=True)
        yield from sorted(outcomes.items(), key=lambda item: item[0])


def _image_names(paths: Sequence[Path], output: Path | None) -> "list[ImageName]":
    """What the writers call each image."""
    from det_core.predict.picture_names import picture_names
    from det_core.predict.writers import ImageName

    files = [path.name for path in paths]
    return [ImageName(*each) for each in zip(_image_ids(paths), files, picture_names(paths, output), strict=True)]


def _image_ids(paths: Sequence[Path]) -> list[int]:
    """The numbers that the files are called by; counted from 1 if one has none, or two have the same: 1.jpg, 01.jpg."""
    stems = [path.stem for path in paths]
    if all(stem.isascii() and stem.isdigit() and len(stem) <= _DIGITS for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(paths) + 1))
