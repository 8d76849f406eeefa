"""`det benchmark`: how fast a model is here, in one runtime and another."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from det_core.cli.output import cell, echo
from det_core.errors import ConfigError, DetError

if TYPE_CHECKING:
    from det_inspect.speed.child import Job
    from det_inspect.speed.measure import Figures

__all__ = ["command"]

_FILE = click.Path(dir_okay=False, path_type=Path)
_EXAMPLE = (416, 544)  # example size for tracing; files accept images of any size


@click.command(short_help="Measure a model in several runtimes: latency, throughput, memory, agreement.")
@click.argument("model")
@click.option("--images", "place", type=click.Path(path_type=Path), required=True, help="A picture, or a folder.")
@click.option("--weights", metavar="FILE", help="The weights, if MODEL is a recipe.")
@click.option(
    "--runtimes",
    default="eager,optimized",
    show_default=True,
    metavar="NAMES",
    help="eager, optimized, and formats of det export: onnx, torch_export, aoti, torchscript, openvino.",
)
@click.option("--against", type=click.Choice(["torchvision"]), help="Also its model of the same architecture.")
@click.option("--runs", type=click.IntRange(1), default=20, show_default=True, help="Calls of each runtime.")
@click.option("--batch", type=click.IntRange(1, 64), default=1, show_default=True, help="Images per call.")
@click.option("--most", type=click.IntRange(1), default=8, show_default=True, help="Most images of the folder.")
@click.option("--threads", type=click.IntRange(1), help="Threads of each runtime; by default as torch chooses.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, mps ...; exported files compute on cpu.")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change a value of the recipe.")
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write all figures there.")
@click.option("--plot", "picture", type=_FILE, metavar="FILE", help="Draw latency, throughput and memory there.")
@click.option("--trust", is_flag=True, help="Run code that the checkpoint names outside the installed plugins.")
def command(model: str, runtimes: str, json_file: Path | None, picture: Path | None, **options: Any) -> None:
    """Measure MODEL (a checkpoint, the folder of a run, or a recipe with weights) on your images, on this machine.

    A call takes decoded images and includes resizing and all steps after the networks. Each runtime is a process of its
    own; their calls take turns. Detections are compared with those of the first runtime, by label and overlap.

    \b
    Examples:
      det benchmark runs/cells --images photos
      det benchmark runs/cells --images photos --runtimes eager,optimized,onnx --against torchvision --plot speed.png
    """
    import tempfile

    from det_inspect.cli.data import track
    from det_inspect.speed.measure import measure

    names = list(dict.fromkeys(filter(None, map(str.strip, runtimes.split(",")))))
    images, detector = _examined(model, names, picture, json_file, **options)
    with tempfile.TemporaryDirectory(prefix="det-benchmark-") as folder:
        jobs = list(_jobs(model, detector, names, images, Path(folder), **options))
        figures = measure(jobs, options["runs"], track)
    _report(model, figures, jobs[0], options, json_file, picture)


def _examined(
    model: str, names: Sequence[str], picture: Path | None, json_file: Path | None, **options: Any
) -> tuple[list[Path], Any]:
    """The images and the detector; where something is wrong, all of it is printed, and the command ends."""
    from det_core.data import read_image
    from det_core.predict import Detector

    problems: list[str] = []
    images: list[Path] = []
    if not names:
        problems.append("--runtimes: has no name; name one, such as eager")
    for name in names:
        _collect(problems, partial(_require, name, options["batch"]))
    _collect(problems, lambda: images.extend(_images(options["place"], options["most"])))
    for path in images:
        _collect(problems, partial(read_image, path))
    for option, file in (("--plot", picture), ("--json", json_file)):
        if file is not None and not file.parent.is_dir():
            problems.append(f"{option}: there is no folder {file.parent}; make it, or name another")
    if picture is not None:
        from det_inspect.optional import optional

        _collect(problems, lambda: optional("matplotlib", "--plot"))
    loaded: Any = None
    try:
        loaded = Detector.load(
            model, options["weights"], options["device"], overrides=options["overrides"], trust=options["trust"]
        )
        if Path(model).is_file() and Path(model).suffix not in (".safetensors", ".yaml", ".yml"):
            problems.append(f"{model}: is an exported file; name the checkpoint, and its runtime in --runtimes")
        elif options["against"]:
            from det_inspect.speed.torchvision_pair import counterpart

            counterpart(loaded)
    except DetError as error:
        problems.append(str(error))
    for problem in problems:
        echo(f"error: {problem}", err=True)
    if problems:
        raise SystemExit(2)
    return images, loaded


def _collect(problems: list[str], check: Callable[[], object]) -> None:
    try:
        check()
    except DetError as error:
        problems.append(str(error))


def _require(name: str, batch: int) -> None:
    """DetError unless a runtime can be used here."""
    from det_core.plugins import registry

    from det_inspect.speed.child import EAGER, OPTIMIZED

    if name not in (EAGER, OPTIMIZED):
        options = {"dynamic_batch": True} if batch > 1 else {}
        exporter = registry.find("exporters", name, "--runtimes").load()(**options)
        getattr(exporter, "require", lambda: None)()


def _images(place: Path, most: int) -> list[Path]:
    from det_core.files import IMAGE_SUFFIXES

    if place.is_dir():
        images = sorted(path for path in place.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)[:most]
        if not images:
            fix = f"it may have {', '.join(IMAGE_SUFFIXES)}"
            raise ConfigError("--images", "the folder has no pictures", str(place), fix)
        return images
    if place.is_file():
        return [place]
    raise ConfigError("--images", "there is no such file or folder", str(place))


def _jobs(
    model: str, detector: Any, names: Sequence[str], images: Sequence[Path], folder: Path, **options: Any
) -> Iterator["Job"]:
    """A job for each runtime, its file written."""
    import torch
    from det_core.plugins import registry

    from det_inspect.speed.child import EAGER, OPTIMIZED, TORCHVISION, Job

    batch = min(options["batch"], len(images))
    shared = {
        "source": model,
        "weights": options["weights"],
        "overrides": tuple(options["overrides"]),
        "trust": options["trust"],
        "images": tuple(images[: len(images) // batch * batch]),  # every call has as many
        "batch": batch,
        "threshold": detector.threshold,
        "threads": options["threads"] or torch.get_num_threads(),
    }
    for name in [*names, *([TORCHVISION] if options["against"] else [])]:
        file, device = None, options["device"]
        if name not in (EAGER, OPTIMIZED, TORCHVISION):
            echo(f"Writing {name} ...", err=True)
            exporter: Any = registry.find("exporters", name, "--runtimes").load()
            several = {"dynamic_batch": True} if options["batch"] > 1 else {}
            file = detector.export(name, folder / f"{name}{exporter.suffixes[0]}", _EXAMPLE, **several)
            device = "cpu"
        yield Job(runtime=name, file=file, device=device, **shared)


def _report(
    model: str,
    figures: Sequence["Figures"],
    job: "Job",
    options: Any,
    json_file: Path | None,
    picture: Path | None,
) -> None:
    from rich.console import Console
    from rich.table import Table

    from det_inspect.counting import counted
    from det_inspect.speed.report import COLUMNS, plot, rows_of, to_json

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(COLUMNS):
        table.add_column(cell(name), justify="right" if number else "left", no_wrap=True)
    for row in rows_of(figures):
        table.add_row(*map(cell, row))
    Console(width=160).print(table)
    threads = counted(job.threads, "thread")
    size = counted(job.batch, "image")
    note = f"{model}: {counted(len(job.images), 'image')}, {size} per call, {options['runs']} calls, {threads}"
    echo(note)
    about = {
        "model": model,
        "images": len(job.images),
        "batch": job.batch,
        "threads": job.threads,
        "device": job.device,
    }
    if json_file is not None:
        json_file.write_text(to_json(figures, {**about, "threshold": job.threshold}) + "\n", "utf-8")
        echo(f"figures: {json_file}")
    if picture is not None:
        echo(f"picture: {plot(figures, note, picture)}")
