"""`openvino`: OpenVINO's own `.xml` with its `.bin` beside it, made of the ONNX file."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from det_core.errors import CheckpointError, ConfigError, MissingExtraError
from torch import Tensor
from torch.export import ExportedProgram

from det_export.formats.base import Run
from det_export.formats.onnx import OnnxExporter
from det_export.metadata import KEY, Metadata

__all__ = ["OpenVinoExporter"]

_FIX = "export the model again"
_LONGEST_XML = 256 * 2**20
_WEIGHTS = re.compile(rb'offset="(\d{1,20})"[^<>]*?size="(\d{1,20})"|size="(\d{1,20})"[^<>]*?offset="(\d{1,20})"')
_LIBRARY = re.compile(rb'<layer [^<>]*version="(?!opset\d{1,3}")([^"<>]{0,80})"')


class OpenVinoExporter(OnnxExporter):
    """Writes FILE.xml and FILE.bin; `openvino.Core().compile_model("FILE.xml")` runs them.

    bf16 files hold the weights in float32: OpenVINO converts them where the processor computes in bfloat16.
    """

    suffixes: ClassVar[Sequence[str]] = (".xml",)
    format: ClassVar[str] = "openvino"
    precisions: ClassVar[Sequence[str]] = ("fp32", "bf16", "int8")
    own_bf16: ClassVar[bool] = True

    def __init__(
        self,
        dynamic: bool = True,
        precision: str = "fp32",
        calibrate: str | Path | None = None,
        keep_float: Sequence[str] = (),
        dynamic_batch: bool = False,
    ) -> None:
        super().__init__(dynamic, precision, calibrate, keep_float, dynamic_batch=dynamic_batch)

    def require(self) -> None:
        """As `FileExporter.require`."""
        super().require()
        try:
            import openvino  # noqa: F401
        except ImportError as error:
            fix = "pip install det-export[openvino] --find-links WHEELS"
            raise MissingExtraError("OpenVINO", "needs openvino, which is not installed", fix=fix) from error

    def write(self, program: ExportedProgram, metadata: Metadata, path: Path) -> None:
        """As `FileExporter.write`; the weights are moved to where the file expects them."""
        import openvino

        with tempfile.TemporaryDirectory(prefix=".openvino.", dir=path.parent) as folder:
            graph = Path(folder) / "graph.onnx"
            super().write(program, metadata, graph)
            try:
                model: Any = openvino.convert_model(str(graph))
            except Exception as error:  # the converter's errors have no common type
                detail = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
                fix = "export to onnx"
                raise ConfigError("export", "OpenVINO cannot convert the model", detail[:300], fix) from error
            metadata.versions = {**metadata.versions, "openvino": str(openvino.__version__).split("-")[0]}
            model.set_rt_info("", ["framework", KEY])  # that of ONNX is replaced by the next line
            model.set_rt_info(metadata.to_json(), [KEY])
            written = Path(folder) / "graph.xml"
            openvino.save_model(model, str(written), compress_to_fp16=False)
            written.with_suffix(".bin").replace(self.target.with_suffix(".bin"))
            written.replace(path)

    def read(self, path: Path) -> tuple[Metadata, Run]:
        """As `FileExporter.read`."""
        import openvino

        _require_plain(path)
        core: Any = openvino.Core()
        try:
            model = core.read_model(str(path), str(path.with_suffix(".bin")))
            text = model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else ""
        except Exception as error:  # the reader's errors have no common type
            raise CheckpointError(str(path), "is damaged, or no OpenVINO file", _first(error), _FIX) from error
        if not text:
            problem = "was not written by det: it lacks the metadata that name its outputs"
            raise CheckpointError(str(path), problem, fix="write it with `det export`")
        metadata = Metadata.of_json(text, str(path))
        precision = "bf16" if metadata.precision == "bf16" else "f32"
        options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        try:
            compiled = core.compile_model(model, "CPU", {**options, "PERFORMANCE_HINT": "LATENCY"})
        except Exception as error:  # as above
            raise CheckpointError(str(path), "is no graph that OpenVINO runs", _first(error), _FIX) from error
        names = {name for each in compiled.inputs for name in each.names}
        if not names <= set(metadata.inputs):
            found = f"it wants {', '.join(sorted(names))}"
            raise CheckpointError(str(path), f"does not take {', '.join(metadata.inputs)}", found, _FIX)

        def run(*inputs: Tensor) -> Sequence[Tensor]:
            arrays = {name: value.numpy() for name, value in zip(metadata.inputs, inputs, strict=True)}
            outputs = compiled({name: value for name, value in arrays.items() if name in names})
            return [torch.from_numpy(outputs[index].copy()) for index in range(len(compiled.outputs))]

        return metadata, run


def _require_plain(path: Path) -> None:
    """CheckpointError where the file is damaged, names entities or libraries, or refers to weights beyond its file."""
    where, weights = str(path), path.with_suffix(".bin")
    if not path.exists():
        raise CheckpointError(where, "does not exist")
    if not weights.exists():
        raise CheckpointError(where, f"lacks its weights: {weights.name} is not beside it", fix="copy both files")
    size, num_bytes = path.stat().st_size, weights.stat().st_size
    if size > _LONGEST_XML:
        raise CheckpointError(where, "is too long for an OpenVINO file", f"{size} bytes", _FIX)
    data = path.read_bytes()
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data or not data.rstrip().endswith(b"</net>"):
        raise CheckpointError(where, "is damaged, or no OpenVINO file", fix=_FIX)
    for first, second, third, fourth in _WEIGHTS.findall(data):
        end = int(first or fourth) + int(second or third)
        if end > num_bytes:
            raise CheckpointError(where, "refers to weights beyond its file", f"{end} of {num_bytes} bytes", _FIX)
    library = _LIBRARY.search(data)
    if library:
        found = f"version {library.group(1).decode('ascii', 'replace')!r}"
        raise CheckpointError(where, "has operators outside OpenVINO's own", found, _FIX)


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:200]}" if lines else type(error).__name__
