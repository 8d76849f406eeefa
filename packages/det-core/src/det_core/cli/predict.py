"""`det predict`: find objects in images, draw them, and write them down."""

import glob
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from det_core.cli.segments import SegmentWriter
from det_core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from det_core.predict.detector import Detector, Result

__all__ = ["command"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".jp2", ".avif")


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@click.option("--model", required=True, metavar="CHECKPOINT", help="A checkpoint, the folder of a run, or a recipe.")
@click.option("--weights", metavar="FILE", help="The weights, if --model is a recipe.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the pictures and predictions.json go; by default predictions/, or nowhere with --json.",
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
    threshold: float,
    batch_size: int | None,
    device: str | None,
    tta: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """Find objects in IMAGES: files, folders of images, or patterns such as "photos/*.jpg".

    Each image is drawn with what was found. predictions.json holds all detections in the COCO results format.
    Its image_id is the number that a file is called by, if all are called by numbers, as COCO's are; otherwise it
    counts from 1. The name of the file stands beside it. An image that cannot be read is told of, the rest goes on, and
    the exit code is 1.

    A model that tells segments is drawn with them; panoptic.json and the folder panoptic hold them in the COCO panoptic
    format. Of a model that tells only the class of each pixel, the folder semantic holds a PNG of labels per image.

    \b
    Example:
      det predict photos/ --model runs/cells/best.safetensors --output found
    """
    paths = list(_expanded(images))
    from det_core.predict.detector import Detector

    detector = Detector.load(model, weights, device, trust=trust)
    if tta:
        detector = detector.augmented()
    if output is None and not as_json:
        output = Path("predictions")
    if output is not None:
        _make(output)
    entries: list[dict[str, Any]] = []
    ids, names, unread = _image_ids(paths), _picture_names(paths), 0
    segments = None if output is None else SegmentWriter(output)
    for number, found in _results(detector, paths, threshold, batch_size or detector.batch_size):
        path = paths[number]
        if isinstance(found, DataError):
            click.echo(f"error: {found}", err=True)
            unread += 1
            continue
        if found.prediction.detections is not None:
            entries += [{**entry, "file_name": path.name} for entry in found.to_coco(ids[number])]
        if segments is not None:
            found.plot().save(segments.folder / names[number])
            segments.write(found, ids[number], path.name, Path(names[number]).stem)
        click.echo(f"{path}: {found.summary()}", err=as_json)
    if segments is not None:
        segments.finish()
        (segments.folder / "predictions.json").write_text(json.dumps(entries), encoding="utf-8")
        pictures = len(paths) - unread
        click.echo(f"{pictures} picture{'s' * (pictures != 1)} and predictions.json are in {output}", err=as_json)
    if as_json:
        click.echo(json.dumps(entries, indent=1))
    if unread:
        click.echo(f"{unread} of {len(paths)} images could not be read", err=True)
        context.exit(1)


def _expanded(images: Sequence[str]) -> Iterator[Path]:
    """The files that are meant; one that does not exist is among them, to be told like any other bad image."""
    for image in images:
        path = Path(image)
        if path.is_dir():
            within = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
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


def _image_ids(paths: Sequence[Path]) -> list[int]:
    stems = [path.stem for path in paths]
    if len(set(stems)) == len(stems) and all(stem.isascii() and stem.isdigit() for stem in stems):
        return [int(stem) for stem in stems]
    return list(range(1, len(paths) + 1))


def _picture_names(paths: Sequence[Path]) -> list[str]:
    """A file name for each picture, all different; what is not JPEG becomes PNG."""
    names: list[str] = []
    for path in paths:
        suffix = path.suffix if path.suffix.lower() in (".jpg", ".jpeg", ".png") else ".png"
        name, again = path.stem + suffix, 1
        while name.lower() in (other.lower() for other in names):
            again += 1
            name = f"{path.stem}_{again}{suffix}"
        names.append(name)
    return names


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("--output", "the folder cannot be made", str(error)) from error
