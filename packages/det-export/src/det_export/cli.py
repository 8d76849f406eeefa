"""`det export`: a model as a file that other runtimes read, checked against the model."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from det_core.cli.output import echo
from det_core.errors import ConfigError

from det_export import triton

if TYPE_CHECKING:
    from det_export.check import Agreement

__all__ = ["command"]

_EXAMPLE = (416, 544)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(short_help="Write a model to a file for another runtime.")
@click.argument("model")
@click.option("--format", "form", required=True, metavar="NAME", help="onnx, torch_export, or another exporter's name.")
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--weights", metavar="FILE", help="The weights, if MODEL is a recipe.")
@click.option("--size", nargs=2, type=click.IntRange(min=1), metavar="H W", help="Fix the size of the input.")
@click.option("--dynamic", is_flag=True, help="Leave height and width free, which is the default.")
@click.option("--batch", type=click.IntRange(1, 64), default=1, show_default=True, help="Images at once.")
@click.option("--dynamic-batch", is_flag=True, help="Any number of images at once, up to 64.")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "int8"]), default="fp32", show_default=True)
@click.option("--calibrate", type=_FOLDER, metavar="FOLDER", help="Pictures like those to come, for int8.")
@click.option("--keep-float", multiple=True, metavar="LAYER", help="A module that int8 leaves in float.")
@click.option("--check", "folder", type=_FOLDER, metavar="FOLDER", help="Pictures of the check, the first three.")
@click.option("--ap-images", type=click.IntRange(min=0), default=100, show_default=True, help="Images of the AP.")
@click.option("--resize/--no-resize", default=None, help="Let the file resize; by default where its format can.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="What an aoti package is compiled for.")
@click.option("--layout", type=click.Choice(["triton"]), help="Also write the model's config.pbtxt of a repository.")
@click.option("--licence", metavar="TEXT", help="Of the weights, for the file; by default that of published ones.")
@click.option("--trust", is_flag=True, help="Run code that the checkpoint names outside the installed plugins.")
def command(**options: Any) -> None:
    """Write MODEL (a checkpoint, the folder of a run, or a recipe) to FILE, and compare what FILE computes.

    The file is run on pictures at three sizes that it was not exported at, and on a black one: those of --check, else
    of the run's validation set, else three that the package brings. Exit code 1 if it fails or differs from the model.

    \b
    Examples:
      det export runs/cells --format onnx --output cells.onnx
      det export runs/cells --format torch_export --output cells.pt2 --check photos
      det export runs/cells --format aoti --output cells.pt2 --precision int8 --calibrate photos
    """
    request = _Request(**{name: options.pop(name) for name in tuple(options) if name in _Request.__annotations__})
    if request.layout:
        triton.require_place(options["form"], request.output)
    exporter = _exporter(request, **options)
    agreement = _export(request, exporter)
    if request.layout:
        echo(f"{triton.write_config(request.output)}: written")
    if not agreement.agrees:
        echo("the file differs from the model; it is kept for inspection", err=True)
        raise SystemExit(1)


@dataclass
class _Request:
    """Which model, where to, and how it is compared."""

    model: str
    output: Path
    weights: str | None
    size: tuple[int, int] | None
    batch: int
    folder: Path | None
    ap_images: int
    layout: str | None
    licence: str | None
    trust: bool


def _exporter(
    request: _Request,
    form: str,
    dynamic: bool,
    dynamic_batch: bool,
    precision: str,
    calibrate: Path | None,
    keep_float: tuple[str, ...],
    resize: bool | None,
    device: str | None,
) -> Any:
    """The exporter that the options describe; errors that need no model come from here."""
    if request.size and dynamic:
        raise ConfigError("--size", "fixes what --dynamic leaves free", fix="give one of them")
    if dynamic_batch and request.batch != 1:
        raise ConfigError("--batch", "fixes what --dynamic-batch leaves free", fix="give one of them")
    from det_core.plugins import registry

    from det_export.calibration import listed

    if request.folder is not None:
        listed(request.folder, "--check")
    if calibrate is not None:
        listed(calibrate, "--calibrate")
    maker = registry.find("exporters", form, "det export").load()
    parameters = inspect.signature(maker).parameters
    arguments: dict[str, Any] = {
        "precision": precision,
        "calibrate": calibrate,
        "keep_float": keep_float,
        "device": device,
    }
    arguments["dynamic_batch"] = dynamic_batch
    arguments = {name: value for name, value in arguments.items() if value not in (None, (), "fp32", False)}
    if resize or (resize is None and "resize" in parameters and not request.size):
        arguments["resize"] = True if resize else None  # None: where boxes can be brought back
    unknown = sorted(set(arguments) - set(parameters))
    if unknown:
        raise ConfigError(f"--{unknown[0].replace('_', '-')}", f"is not an option of {form}")
    exporter = maker(dynamic=not request.size, **arguments)
    if hasattr(exporter, "require"):
        exporter.require()
    return exporter


def _export(request: _Request, exporter: Any) -> "Agreement":
    import torch
    from det_core.models.cpu_acceleration import accelerate
    from det_core.predict import Detector
    from det_core.structures import ImageBatch

    from det_export.check import compare, pictures, sizes_for
    from det_export.table import show
    from det_export.validation import add_metrics, add_resizing, data_of, pictures_of

    detector = Detector.load(request.model, request.weights, "cpu", trust=request.trust)
    _describe(exporter, detector, request)
    data = data_of(detector)
    images = pictures_of(data) if data is not None and request.folder is None else list(pictures(request.folder))
    shape = request.size or _EXAMPLE
    pixels = torch.zeros(request.batch, 3, *shape, dtype=torch.uint8)
    example = ImageBatch(pixels=pixels, sizes=(shape,) * request.batch)
    exporter.compared = images
    written = exporter.export(detector.model, example, request.output)
    echo(f"{written}: written, {written.stat().st_size / 1e6:.1f} MB; checking it")
    loaded = exporter.load(written)
    plain = accelerate(detector.model, on=False)
    agreement = compare(plain, loaded, images, sizes_for(loaded, shape), written)
    add_resizing(agreement, plain, loaded, images, detector._transforms)
    if data is not None:
        add_metrics(agreement, plain, loaded, data, request.ap_images)
    if hasattr(exporter, "record"):
        exporter.record(written, agreement.as_dict())
    show(agreement, getattr(exporter, "report", None))
    return agreement


def _describe(exporter: Any, detector: Any, request: _Request) -> None:
    """Give the exporter the metadata of the model, and trust in its own files."""
    exporter.about = detector.about_for_export()
    if request.licence is not None:
        exporter.about["licence"] = request.licence
    exporter.trust = True
