"""Base class of the formats: the traced program, dynamic sizes, metadata, and atomic writing of files."""

import contextlib
import copy
import json
import os
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from det_core.errors import ConfigError, DetError
from det_core.models.cpu_acceleration import accelerate
from det_core.structures import ImageBatch, Size
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from det_export.batches import require_batchable
from det_export.calibration import inputs_of, listed
from det_export.exported import ExportedModel, model_of
from det_export.licences import licence_in
from det_export.metadata import INPUTS, PROPOSALS, Metadata
from det_export.obstacles import require_exportable
from det_export.postprocess_steps import written_for
from det_export.precision import PRECISIONS, at_precision
from det_export.preprocess import rule_of_recipe
from det_export.program import Program, padded
from det_export.proposals import inputs_of as proposals_of
from det_export.proposals import with_proposals
from det_export.quantize import QuantizationReport, quantize, require_torchao

__all__ = ["FileExporter", "Run"]

Run = Callable[..., Sequence[Tensor]]
"""Pixels and sizes, and proposals where there are some, as `det_export.program.Program` takes them, to its outputs."""

_LARGEST = 4096
_MOST = 64  # images at once
_MOST_PROPOSALS = 65536
_METADATA: Mapping[str, Any] = {"classes": (), "category_ids": (), "recipe": "", "licence": ""}
_ABOUT_FIELDS = tuple(_METADATA)


class FileExporter(ABC):
    """Writes models to files of one format, and reads these files.

    Args:
        dynamic: whether the file takes images of any height and width up to 4096 pixels; False fixes them to those of
            the example, padded.
        precision: "fp32"; "bf16" computes convolutions and linear layers in bfloat16, "int8" in eight bits.
        calibrate: folder of pictures that are typical of the application, for "int8".
        keep_float: names of modules that stay in float with "int8".
        dynamic_batch: whether the file takes any number of images up to 64; False fixes it to that of the example.

    Attributes:
        compared: pictures for the report of an int8 file; by default the first calibration pictures.
        trust: whether files that contain code are loaded; set by `Detector.load`.
        report: quantization errors of the layers of the last int8 file; None before.
        about: metadata of the model, set by `Detector.export`: `classes`, `category_ids`, `recipe` (YAML text with
            its `data`), `weights` (their source), and `licence` of the weights, which defaults to that of the
            published weights at this source.
    """

    suffixes: ClassVar[Sequence[str]]
    format: ClassVar[str]
    precisions: ClassVar[Sequence[str]] = PRECISIONS
    own_bf16: ClassVar[bool] = False  # whether the runtime converts a program in float32

    def __init__(
        self,
        dynamic: bool = True,
        precision: str = "fp32",
        calibrate: str | Path | None = None,
        keep_float: Sequence[str] = (),
        dynamic_batch: bool = False,
    ) -> None:
        if precision not in self.precisions:
            fix = f"choose {' or '.join(self.precisions)}"
            raise ConfigError("precision", f"is not a precision of {self.format} files", f"got {precision!r}", fix)
        if precision == "int8" and calibrate is None:
            fix = "name a folder of pictures like those to come: --calibrate FOLDER"
            raise ConfigError("int8", "needs pictures to calibrate on", fix=fix)
        if precision != "int8" and (calibrate is not None or keep_float):
            raise ConfigError("calibrate, keep_float", "are for the precision int8", f"it is {precision}")
        self.dynamic, self.precision, self.keep_float = dynamic, precision, tuple(keep_float)
        self.dynamic_batch = dynamic_batch
        self.calibrate = None if calibrate is None else Path(calibrate)
        self.trust = False
        self.report: QuantizationReport | None = None
        self.about: dict[str, Any] = dict(_METADATA)
        self.compared: Sequence[Path | tuple[str, Tensor]] = ()
        self.others: list[tuple[Tensor, Tensor]] = []
        self.target = Path()  # where files that belong to the one written go
        self._last: tuple[ExportedProgram, Metadata] | None = None

    def export(self, model: nn.Module, example: ImageBatch, path: Path) -> Path:
        """Write a file for the batch size of `example`; returns its path, with the suffix of the format.

        The model is not changed. The file appears when it is complete.

        Raises:
            ConfigError: the model, or the size of the example, cannot be exported.
            MissingExtraError: a library that the format needs is not installed.
        """
        self.require()
        require_exportable(model, self.format)
        if self.dynamic_batch:
            require_batchable(written_for(model))
            # A graph that is traced with one image would be for one image.
            example = ImageBatch(pixels=example.pixels[:1].repeat(2, 1, 1, 1), sizes=example.sizes[:1] * 2)
        example = with_proposals(model, example.to("cpu"))
        if example.proposals is not None and self.precision == "int8":
            raise ConfigError("int8", "calibrates on pictures alone", "the model takes proposals, too", "export fp32")
        path = path if path.suffix in self.suffixes else path.with_name(path.name + self.suffixes[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        copied = accelerate(copy.deepcopy(model).cpu().eval(), on=False).requires_grad_(False)
        precision = "fp32" if self.precision == "bf16" and self.own_bf16 else self.precision
        program = Program(at_precision(copied, precision), example, self.dynamic_batch).eval()
        arguments: tuple[Tensor, ...] = padded(example, program.divisibility)
        height, width = arguments[0].shape[-2:]
        metadata = self._metadata(program, model, (height, width))
        if example.proposals is not None:
            metadata.inputs = (*INPUTS, PROPOSALS)
            arguments = (*arguments, *proposals_of(example.proposals[0]))
        calibration = self._calibration(metadata) if self.precision == "int8" else []
        traced = self._traced(program, arguments, metadata)
        if self.precision == "int8":
            shapes = self._shapes(metadata)
            traced, self.report = quantize(traced, calibration, self.keep_float, shapes, self.others)
        self._last = traced, metadata
        self._write_whole(traced, metadata, path)
        return path

    def record(self, path: Path, agreement: Mapping[str, Any]) -> None:
        """Write the last file of this exporter again, with the results of its check."""
        traced, metadata = self._exported("record")
        metadata.agreement = dict(agreement)
        self._write_whole(traced, metadata, path)

    def export_as(self, other: "FileExporter", path: Path) -> Path:
        """Write what was exported last in the format of `other`, too, without tracing it again; returns the path.

        Raises:
            ConfigError: nothing was exported before, or the format has no such precision.
            MissingExtraError: a library that the format needs is not installed.
        """
        traced, metadata = self._exported("export_as")
        usable = "fp32" if other.own_bf16 and other.precision == "bf16" else other.precision
        if self.precision != usable:
            found = f"{self.precision}, and {other.format} wants {usable}"
            raise ConfigError("export_as", "the exported program is of another precision", found)
        other.require()
        other._last = traced, replace(metadata, format=other.format, resizes=False)
        other._write_whole(*other._last, path)
        return path

    def _exported(self, method: str) -> tuple[ExportedProgram, Metadata]:
        if self._last is None:
            raise ConfigError(method, "nothing was exported before", fix="call export first")
        return self._last

    def _write_whole(self, program: ExportedProgram, metadata: Metadata, path: Path) -> None:
        self.target = path
        with _whole(path) as temporary:
            self.write(program, metadata, temporary)
        _describe(path, metadata)

    def load(self, path: Path) -> ExportedModel:
        """The model of a file, for prediction on the CPU.

        Raises:
            CheckpointError: the file is missing, damaged, of another program, or hostile.
            MissingExtraError: a library that the format needs is not installed.
        """
        self.require()
        metadata, run = self.read(Path(path))
        return model_of(run, metadata, str(path))

    def require(self) -> None:
        """MissingExtraError where a library is missing."""
        if self.precision == "int8":
            require_torchao()

    @abstractmethod
    def write(self, program: ExportedProgram, metadata: Metadata, path: Path) -> None:
        """Write the program to `path`."""

    @abstractmethod
    def read(self, path: Path) -> tuple[Metadata, Run]:
        """The metadata of a file, and its computation; errors as of `load`."""

    def _metadata(self, program: Program, model: nn.Module, size: Size) -> Metadata:
        strides = getattr(getattr(model, "backbone", None), "strides", None) or {"": program.divisibility}
        # A map of a single row or column would be taken for one that always has a single one, and so would windows.
        sides = [max(strides.values()), *(getattr(each, "single_window", 0) for each in model.modules())]
        least = max(sides) // program.divisibility + 1
        metadata = Metadata(
            format=self.format,
            outputs=program.outputs,
            batch_size=_MOST if self.dynamic_batch else program.batch_size,
            any_batch=self.dynamic_batch,
            divisibility=program.divisibility,
            smallest=max(least, 2) * program.divisibility,
            largest=_LARGEST // program.divisibility * program.divisibility,
            fixed=None,
            precision=self.precision,
            num_classes=int(getattr(model, "num_classes", 0) or 0),
            finish=program.finish,
            **{name: self.about[name] for name in _ABOUT_FIELDS if name in self.about},
        )
        metadata.licence = licence_in(self.about)
        metadata.resize = rule_of_recipe(metadata.recipe, metadata.divisibility, metadata.smallest)
        metadata.fixed = None if self.dynamic else size
        return metadata

    def _traced(self, program: Program, arguments: tuple[Tensor, ...], metadata: Metadata) -> ExportedProgram:
        height, width = arguments[0].shape[-2:]
        if self.dynamic and (min(height, width) < metadata.smallest or max(height, width) > metadata.largest):
            allowed = f"from {metadata.smallest} to {metadata.largest} pixels"
            raise ConfigError("export", f"images must have sides {allowed}", f"the example is {height} x {width}")
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of torchvision's operators, to its own authors
                return torch.export.export(program, arguments, dynamic_shapes=self._shapes(metadata), strict=True)
        except DetError:
            raise
        except Exception as error:  # the errors of torch.export have no common type
            fix = "docs/export.md lists which models can be exported, and why others cannot"
            raise ConfigError("export", "the model is no graph for torch.export", _first_line(error), fix) from error

    def _shapes(self, metadata: Metadata) -> Any:
        """The dynamic shapes of the inputs, as torch.export takes them."""
        proposals = [{0: Dim("count", min=1, max=_MOST_PROPOSALS)}] if PROPOSALS in metadata.inputs else []
        if not (self.dynamic or self.dynamic_batch or proposals):
            return None
        sides = {2: _free("height", metadata), 3: _free("width", metadata)} if self.dynamic else {}
        images = {0: Dim("images", min=1, max=_MOST)} if self.dynamic_batch else {}
        shapes = (images | sides, images, *proposals)
        # The variable arguments of `Program.forward` are one group.
        return (*shapes[:2], tuple(proposals)) if proposals else shapes

    def _calibration(self, metadata: Metadata) -> list[tuple[Tensor, Tensor]]:
        """The calibration inputs; also stores those of the pictures in `compared` for the report."""
        recipe = str(self.about.get("recipe", ""))
        self.others = list(inputs_of(self.compared, recipe, metadata, self.trust))
        return list(inputs_of(listed(self.calibrate, "--calibrate"), recipe, metadata, self.trust))


def _describe(path: Path, metadata: Metadata) -> None:
    """Write the metadata of a file as JSON beside it."""
    with _whole(path.with_name(f"{path.name}.json")) as temporary:
        temporary.write_text(json.dumps(json.loads(metadata.to_json()), indent=1) + "\n", "utf-8")


def _free(name: str, metadata: Metadata) -> Any:
    step = metadata.divisibility
    dim = Dim(name, min=metadata.smallest // step, max=metadata.largest // step)
    return step * dim if step > 1 else dim


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


@contextlib.contextmanager
def _whole(path: Path) -> Any:
    """A temporary path beside `path`, with the same suffix, that replaces it on success."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(descriptor)
    try:
        yield Path(name)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
