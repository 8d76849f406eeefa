"""`det predict film.mp4` and `det video predict`: find objects in the frames of a video, and track them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click
from det_core.cli.output import echo
from det_core.errors import ConfigError, DetError
from det_core.plugins import registry

if TYPE_CHECKING:
    from det_core.predict.writers import Writer

    from det_video.frames import Video
    from det_video.record import Record
    from det_video.stream import FrameResult

__all__ = ["command"]

_SAVED = ("mp4", "json")
_LOW = 0.1  # scores from here are recorded for the tracker's second pass and for --blur

_HELP = """\
Find objects in a VIDEO: a file, an address (rtsp://..., https://...), a folder of frames, or /dev/video0.

The folder then holds video.mp4 with the objects drawn on it, predictions.json in the COCO results format, and
frames.jsonl, the detections of each frame. A run that was interrupted goes on where that ends, with the same command
line; other outputs of the same frames (--save, --trails ...) are made from it without predicting again.

Frames keep their times, also where the frame rate varies. What cannot be decoded is reported, the rest goes on, and
the exit code is 1.

\b
Example:
  det predict street.mp4 --model runs/cars --track --save mp4,mot --output found
"""


@dataclass(frozen=True)
class _Options:
    """What is not about the frames themselves."""

    save: Sequence[str]
    track: bool
    appearance: bool
    blur: Sequence[str]
    classes: Sequence[str] | None
    limit: int | None
    drawing: Mapping[str, Any]


@click.command(short_help="Find and track objects in a video.", help=_HELP)
@click.argument("video", metavar="VIDEO")
@click.option("--model", required=True, metavar="CHECKPOINT", help="A checkpoint, the folder of a run, or a recipe.")
@click.option("--weights", metavar="FILE", help="The weights, if --model is a recipe.")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="By default predictions/NAME.")
@click.option("--save", multiple=True, metavar="NAMES", help="mp4, json, mot, or another writer; by default mp4,json.")
@click.option("--every", type=int, default=1, show_default=True, metavar="N", help="Predict each Nth frame.")
@click.option("--start", type=float, default=0.0, metavar="SECONDS", help="Skip frames before.")
@click.option("--end", type=float, metavar="SECONDS", help="Stop before.")
@click.option("--rate", type=float, default=25.0, show_default=True, help="Frames per second of a folder.")
@click.option("--track", is_flag=True, help="Give objects numbers, and draw their trails.")
@click.option("--appearance", is_flag=True, help="Track by appearance too, from the feature maps.")
@click.option("--trails", type=click.FloatRange(0), default=1.0, show_default=True, help="Seconds of a trail; 0: none.")
@click.option("--blur", multiple=True, metavar="NAMES", help="Make objects of these classes unrecognizable.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Score threshold; by default the checkpoint's, or 0.5.")
@click.option("--classes", multiple=True, metavar="NAMES", help="Only these, separated by commas; may be repeated.")
@click.option("--max", "limit", type=click.IntRange(1), metavar="N", help="At most N objects of a frame, the best.")
@click.option("--hide-labels", is_flag=True, help="Draw no names and scores.")
@click.option("--line-width", type=click.IntRange(1), metavar="PIXELS", help="Of boxes; by default by the frame.")
@click.option("--codec", default="", metavar="NAME", help="Encoder of video.mp4; by default H.264, or MPEG-4.")
@click.option("--tile", type=click.IntRange(1), metavar="PIXELS", help="Predict on tiles. Needs det-inspect.")
@click.option("--overlap", type=click.FloatRange(0, 0.9), default=0.2, show_default=True, help="Share of a tile.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Frames at once; by default 8, and 1 on a CPU.")
@click.option("--device", help="cpu, cuda, mps ...; by default the best there is.")
@click.option("--trust", is_flag=True, help="Run code that the checkpoint names outside the installed plugins.")
@click.pass_context
def command(context: click.Context, **arguments: Any) -> None:
    """Find and track objects in a video."""
    drawing = {
        "labels": not arguments["hide_labels"],
        "line_width": arguments["line_width"],
        "trails": arguments["trails"],
        "codec": arguments["codec"],
    }
    options = _Options(
        _split(arguments["save"]) or _SAVED,
        arguments["track"],
        arguments["appearance"],
        arguments["blur"],
        arguments["classes"] or None,
        arguments["limit"],
        drawing,
    )
    output = arguments["output"] or Path("predictions") / (_stem(arguments["video"]))
    video, record, makers = _opened(context, arguments, output, options)
    try:
        _run(video, record, makers, arguments, output, options)
    except KeyboardInterrupt:
        echo(f"Stopped; the predicted frames are in {output}. The same command goes on after them.", err=True)
        context.exit(130)
    for problem in video.problems:
        echo(f"{arguments['video']}: {problem}", err=True)
    if video.problems:
        context.exit(1)


def _split(texts: Sequence[str], classes: Sequence[str] = ()) -> list[str]:
    """The names in texts, separated by commas; a text that is the name of a class is not divided."""
    names = [name.strip() for text in texts for name in ([text] if text in classes else text.split(","))]
    return list(dict.fromkeys(filter(None, names)))


def _stem(source: str) -> str:
    return PurePosixPath(source.rstrip("/")).stem or "video"


def _opened(
    context: click.Context, arguments: Mapping[str, Any], output: Path, options: _Options
) -> "tuple[Video, Record, list[Callable[..., Writer]]]":
    """The video, the record of an earlier run and the writers; prints all that is wrong with them, and ends."""
    from det_video.frames import Video
    from det_video.record import Record
    from det_video.writers import find_codec

    faults: list[str] = []

    def tried(make: Callable[[], Any]) -> Any:
        try:
            return make()
        except DetError as error:
            faults.append(str(error))
            return None

    reading = {name: arguments[name] for name in ("every", "start", "end", "rate")}
    video = tried(lambda: Video(arguments["video"], **reading))
    record = tried(lambda: Record(output))
    makers = [tried(partial(_writer, name)) for name in options.save]
    if "mp4" in options.save:
        tried(lambda: find_codec(options.drawing["codec"]))
    if options.appearance and not options.track:
        faults.append("--appearance: is for tracking; add --track")
    if arguments["appearance"] and arguments["tile"]:
        faults.append("--appearance: there are no feature maps of a frame with --tile; leave one of them out")
    if not Path(arguments["model"]).exists() and Path(arguments["model"]).suffix in (".safetensors", ".pth"):
        faults.append(f"{arguments['model']}: there is no such file; check the path of --model")
    if record is not None:
        different = record.differences(_settings(arguments))
        fix = f"choose another folder than {output}, or remove it"
        faults += [f"--output: holds a run with other settings: {'; '.join(different)}; {fix}"] if different else []
    if faults:
        for fault in faults:
            echo(f"error: {fault}", err=True)
        context.exit(2)
    return video, record, makers


def _writer(name: str) -> "Callable[..., Writer]":
    from det_video.writers import FrameJsonWriter

    if name == "json":
        return FrameJsonWriter
    make: Callable[..., Writer] = registry.find("writers", name, "--save").load("--save")
    return make


def _settings(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options that decide what is recorded."""
    names = ("video", "model", "weights", "every", "start", "end", "rate", "threshold", "appearance", "tile", "overlap")
    settings = {name: arguments[name] for name in names}
    path = Path(arguments["video"])
    settings["file_size"] = path.stat().st_size if path.is_file() else None
    # The tracker's second pass and blurring want lower scores than what is drawn.
    settings["low_scores"] = bool(arguments["track"] or arguments["blur"])
    return settings


def _run(
    video: "Video",
    record: "Record",
    makers: "Sequence[Callable[..., Writer]]",
    arguments: Mapping[str, Any],
    output: Path,
    options: _Options,
) -> None:
    """Predict, track and write all frames."""
    from det_core.engine import Display
    from det_core.predict.writers import ImageName, build_writer

    from det_video.stream import predict_frames

    detector: Any = None
    run: Any = None
    if not record.complete:
        detector, run = _loaded(arguments)
    if detector is not None:
        about = {"classes": list(detector.classes), "category_ids": list(detector.category_ids)}
        level = detector.threshold if arguments["threshold"] is None else arguments["threshold"]
        record.begin({**_settings(arguments), **about, "level": level})
    level = record.settings["level"]
    options = _with_classes(options, record.settings["classes"])
    if record.count:
        rest = "none is predicted again" if record.complete else "going on after them"
        echo(f"{output}: {record.count} frame{'s' * (record.count != 1)} predicted before; {rest}", err=True)

    def predict(frames: Any) -> "Iterator[FrameResult]":
        size = arguments["batch_size"] or detector.batch_size
        low = min(_LOW, level) if _settings(arguments)["low_scores"] else level
        return predict_frames(run, frames, low, size, detector if options.appearance else None)

    results = _finished(record.results(video.frames(), predict), options, level, video.rate)
    writers = [build_writer(make, output, options.drawing) for make in makers]
    stem, count = _stem(arguments["video"]), 0
    try:
        with Display() as display:
            for result in display.track(results, "predict", video.expected):
                picture = f"{stem}-{result.index:06d}.jpg"
                for writer in writers:
                    writer.write(result, ImageName(result.index + 1, picture, picture, video.source))
                count += 1
    finally:
        for writer in writers:
            writer.finish()
    files = ", ".join(sorted(each.name for each in output.iterdir()))
    echo(f"{count} frame{'s' * (count != 1)}, scores from {level:.2f}; in {output}: {files}")


def _loaded(arguments: Mapping[str, Any]) -> tuple[Any, Any]:
    """The detector, and what predicts: itself, or in tiles."""
    from det_core.predict import Detector

    tile = arguments["tile"]
    tiled = registry.find("commands", "predict --tile", "--tile").resolve() if tile else None
    detector = Detector.load(arguments["model"], arguments["weights"], arguments["device"], trust=arguments["trust"])
    return detector, tiled(detector, tile, arguments["overlap"]) if tiled else detector


def _with_classes(options: _Options, classes: Sequence[str]) -> _Options:
    """The options with their texts divided into names of classes."""
    blur, only = _split(options.blur, classes), _split(options.classes or (), classes)
    unknown = [name for name in (*blur, *only) if name not in classes]
    if unknown:
        near = registry.did_you_mean(unknown[0], classes) or f"there is {', '.join(classes[:20])}"
        raise ConfigError("--blur, --classes", f"the model has no class {', '.join(map(repr, unknown))}", fix=near)
    return replace(options, blur=blur, classes=only or None)


def _finished(
    results: "Iterator[FrameResult]", options: _Options, level: float, rate: float
) -> "Iterator[FrameResult]":
    """Blurred, tracked and filtered."""
    from det_video.stream import tracked
    from det_video.tracking import ByteTracker

    if options.blur:
        results = _blurred(results, options.blur)
    if options.track:
        results = tracked(results, ByteTracker(level, min(_LOW, level)), rate)
    else:
        results = (result.filtered(level) for result in results)  # type: ignore[misc]
    return (result.filtered(0, options.classes, options.limit) for result in results)  # type: ignore[misc]


def _blurred(results: "Iterator[FrameResult]", names: Sequence[str]) -> "Iterator[FrameResult]":
    """Frames with all objects of some classes blurred, those of low scores and those that are not tracked too."""
    from det_video.drawing import blurred

    for result in results:
        yield replace(result, image=blurred(result.image, result.filtered(0, names).detections.boxes))
