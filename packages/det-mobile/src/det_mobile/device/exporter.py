"""`executorch`: a `.pte` file for phones, with the methods `trunk` and `heads`, and a JSON file with the settings."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from det_core.errors import CheckpointError, ConfigError
from det_core.structures import ImageBatch
from det_export.calibration import inputs_of, listed
from det_export.formats.base import FileExporter, Run
from det_export.licences import licence_in
from det_export.metadata import Metadata
from det_export.preprocess import rule_of_recipe
from torch import Tensor, nn
from torch.export import ExportedProgram

from det_mobile.device import host
from det_mobile.device.int8 import quantized
from det_mobile.device.lowering import lowered, require_executorch, runner
from det_mobile.device.parts import DeviceModel, obstacle

__all__ = ["ExecuTorchExporter"]

_OUTPUTS = ("boxes", "scores", "labels")
_FIX = "export it again, and keep the .pte and its .json together"


class ExecuTorchExporter(FileExporter):
    """Writes a detector of boxes as trunk and heads for XNNPACK; suppression is host code, `det_mobile.device.host`.

    Args:
        dynamic: must be False: files of this format take pictures up to one size.
        precision: "fp32", or "int8" for convolutions and linear layers; boxes are decoded in float.
        calibrate: folder of pictures that are typical of the application, for "int8"; the first 64 are used.

    Adaptive sampling of ROIAlign (`sampling_ratio: 0`) is replaced by 2 x 2 samples per bin, with a note in the JSON.
    """

    suffixes: ClassVar[Sequence[str]] = (".pte",)
    format: ClassVar[str] = "executorch"
    precisions: ClassVar[Sequence[str]] = ("fp32", "int8")

    def __init__(self, dynamic: bool = False, precision: str = "fp32", calibrate: str | Path | None = None) -> None:
        if dynamic:
            fix = "give --size H W, which all pictures are padded to"
            raise ConfigError("executorch", "files are for one size", fix=fix)
        super().__init__(False, precision, calibrate)
        self._written: tuple[Metadata, dict[str, Any]] | None = None

    def require(self) -> None:
        """As `FileExporter.require`."""
        require_executorch()

    def export(self, model: nn.Module, example: ImageBatch, path: Path) -> Path:
        """As `FileExporter.export`; the size of the example is that of the file."""
        model = getattr(model, "student", model)
        if name := obstacle(model):
            fix = "export to onnx"
            raise ConfigError("executorch", f"has no form of fixed shapes for {name}", type(model).__name__, fix)
        if len(example) != 1:
            raise ConfigError("executorch", "files take one picture at a time", f"the example has {len(example)}")
        self.require()
        path = path if path.suffix in self.suffixes else path.with_name(path.name + self.suffixes[0])
        height, width = example.pixels.shape[2:]
        device = DeviceModel(model, (int(height), int(width)))
        metadata = self._metadata_of(device)
        networks = None
        if self.precision == "int8":
            networks, self.report = quantized(
                device.networks,
                device.inputs_of_networks(),
                self._pictures(listed(self.calibrate, "--calibrate"), metadata),
                partial(_detector_on, device),
                self._pictures(self.compared, metadata),
            )
        content = lowered(device.methods(networks))
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(content)
        part.replace(path)
        about = {"device": device.settings, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        self._written = metadata, about
        _describe(path, metadata, about)
        return path

    def record(self, path: Path, agreement: Mapping[str, Any]) -> None:
        """Add the results of a check to the JSON beside the file."""
        if self._written is None:
            raise ConfigError("record", "nothing was exported before")
        metadata, about = self._written
        metadata.agreement = dict(agreement)
        _describe(path, metadata, about)

    def write(self, program: ExportedProgram, metadata: Metadata, path: Path) -> None:
        """Not supported by this format, whose files hold several programs."""
        raise NotImplementedError

    def read(self, path: Path) -> tuple[Metadata, Run]:
        """As `FileExporter.read`.

        Raises:
            CheckpointError: also where the JSON is missing, or is of another file.
        """
        metadata, settings = _described(path)
        run = runner(path)

        def detect(pixels: Tensor, sizes: Tensor) -> Sequence[Tensor]:
            height, width = (int(side) for side in sizes[0])
            picture = pixels[0, :, :height, :width].permute(1, 2, 0).numpy()
            detected = host.detect(run, host.entering(picture, settings), (height, width), settings)
            return [torch.from_numpy(np.ascontiguousarray(each)) for each in detected]

        return metadata, detect

    def _metadata_of(self, device: DeviceModel) -> Metadata:
        height, width = device.size
        metadata = Metadata(
            format=self.format,
            outputs=_OUTPUTS,
            batch_size=1,
            divisibility=1,
            smallest=1,
            largest=max(height, width),
            fixed=(height, width),
            num_classes=int(device.model.num_classes),
            precision=self.precision,
            **{name: value for name, value in self.about.items() if name in Metadata.__dataclass_fields__},
        )
        metadata.versions = {**metadata.versions, "executorch": version("executorch")}
        metadata.licence = licence_in(self.about)
        metadata.resize = rule_of_recipe(metadata.recipe, 1, 1)
        return metadata

    def _pictures(self, pictures: Sequence[Any], metadata: Metadata) -> Iterator[tuple[Tensor, Tensor]]:
        return inputs_of(pictures, metadata.recipe, metadata, self.trust)


def _detector_on(device: DeviceModel, networks: dict[str, nn.Module]) -> Callable[[tuple[Tensor, Tensor]], None]:
    """Runs the whole detector on a picture, as the host code does, with other networks."""
    settings = device.settings
    methods = {name: module for name, (module, _) in device.methods(networks).items()}

    def run(name: str, inputs: Sequence[Any]) -> list[Any]:
        return [each.numpy() for each in methods[name](*map(torch.from_numpy, inputs))]

    def observe(picture: tuple[Tensor, Tensor]) -> None:
        pixels, sizes = picture
        height, width = (int(side) for side in sizes[0])
        array = pixels[0, :, :height, :width].permute(1, 2, 0).numpy()
        host.detect(run, host.entering(array, settings), (height, width), settings)

    return observe


def _json(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _describe(path: Path, metadata: Metadata, about: Mapping[str, Any]) -> None:
    content = {"facts": dataclasses.asdict(metadata), **about}
    _json(path).write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def _described(path: Path) -> tuple[Metadata, dict[str, Any]]:
    """The content of the JSON, which is checked against the file before a runtime opens the file."""
    where = str(path)
    try:
        content, program = json.loads(_json(path).read_text("utf-8")), path.read_bytes()
        metadata = Metadata.of_json(json.dumps(content["facts"]), where)
        digest, settings = str(content["sha256"]), content["device"]
        require_settings(settings)
    except OSError as error:
        found = f"{error.filename}: {error.strerror}"
        raise CheckpointError(where, "cannot be read with the JSON beside it", found, _FIX) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(where, "has a JSON that does not describe it", str(error)[:200], _FIX) from error
    if hashlib.sha256(program).hexdigest() != digest:
        found = f"{len(program)} bytes instead of {content.get('bytes')}"
        raise CheckpointError(where, "is damaged, or another file than its JSON describes", found, _FIX)
    return metadata, settings


def require_settings(settings: Any) -> None:
    """ValueError unless they are settings of the host code."""
    numbers = ("score_threshold", "iou_threshold", "most", "stages")
    first = settings if settings.get("stages") == 1 else settings["proposals"]
    good = all(isinstance(settings[name], int | float) for name in numbers) and settings["stages"] in (1, 2)
    good = good and all(
        isinstance(n, int) and 0 < n < 2**24 for n in (*first["anchors"], first["candidates"], *settings["size"])
    )
    if not good or len(settings["size"]) != 2 or len(settings["mean"]) != 3 or not 0 < first["most"] < 2**16:
        raise ValueError("its settings are out of range")
    if settings["stages"] == 1 and not isinstance(settings["clip_before_nms"], bool):
        raise ValueError("its settings are out of range")
