"""`onnx`: standard operators of ONNX alone, run by onnxruntime and other ONNX runtimes."""

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from det_core.errors import CheckpointError, ConfigError, MissingExtraError
from torch import Tensor
from torch.export import ExportedProgram

from det_export.formats.base import FileExporter, Run
from det_export.formats.bounds import limit_memory, require_bounded
from det_export.formats.scalars import translations
from det_export.metadata import KEY, Metadata
from det_export.resizing import INPUT, can_resize, require_resizable, with_resizing

__all__ = ["OPSET", "OnnxExporter"]

OPSET = 20
_LONGEST_FILE = 2**31 - 1  # what protobuf reads
_FIX = "export the model again"
_STANDARD = ("", "ai.onnx")
_EXTENSIVE = 2**28  # elements of a constant that an operator makes


class OnnxExporter(FileExporter):
    """Writes one file, weights included, through the exporter of torch that rests on torch.export.

    Args:
        resize: whether the file resizes its input: it takes `image`, uint8 (H, W, 3), RGB, of any size, in place of
            `pixels` and `sizes`, and its boxes are in the pixels of that image. Requires `dynamic`; None: if possible.
        others: further keyword arguments of `FileExporter`.

    Inputs `pixels` and `sizes`, outputs by the names in the file's metadata; see `det_export.program`.
    """

    suffixes: ClassVar[Sequence[str]] = (".onnx",)
    format: ClassVar[str] = "onnx"
    precisions: ClassVar[Sequence[str]] = ("fp32", "int8")  # onnxruntime has no bf16 convolution for processors

    def __init__(
        self,
        dynamic: bool = True,
        precision: str = "fp32",
        calibrate: str | Path | None = None,
        keep_float: Sequence[str] = (),
        resize: bool | None = False,
        dynamic_batch: bool = False,
    ) -> None:
        super().__init__(dynamic, precision, calibrate, keep_float, dynamic_batch)
        if resize and not dynamic:
            raise ConfigError("resize", "needs free height and width", fix="leave out --size, or give --no-resize")
        if resize and dynamic_batch:
            fix = "leave out --dynamic-batch, or give --no-resize"
            raise ConfigError("resize", "is for one image", "the batch is free", fix)
        self.resize = resize
        self._made: tuple[ExportedProgram, Any, bool] | None = None  # its graph, and whether that resizes images

    def export_as(self, other: FileExporter, path: Path) -> Path:
        """As `FileExporter.export_as`; a format that is made of the graph takes it over."""
        if isinstance(other, OnnxExporter):
            other._made = self._made
        return super().export_as(other, path)

    def require(self) -> None:
        """As `FileExporter.require`."""
        super().require()
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            fix = "pip install det-export[onnx] --find-links WHEELS"
            raise MissingExtraError("ONNX", f"needs {error.name}, which is not installed", fix=fix) from error

    def write(self, program: ExportedProgram, metadata: Metadata, path: Path) -> None:
        """As `FileExporter.write`."""
        import onnx

        if self._made is None or self._made[0] is not program:
            if self.resize:
                require_resizable(metadata)
            resizes = bool(self.resize) or (self.resize is None and can_resize(metadata))
            graph = _translated(program, metadata)
            self._made = program, with_resizing(graph, metadata.resize) if resizes else graph, resizes
        _, model, metadata.resizes = self._made
        metadata.versions = {**metadata.versions, "onnx": onnx.__version__, "opset": str(OPSET)}
        model.producer_name, model.doc_string = "det", "written by det-export"
        onnx.helper.set_model_props(model, {KEY: metadata.to_json()})
        _require_standard(model, "export", ConfigError)
        _strip_traces(model)
        path.write_bytes(model.SerializeToString())

    def read(self, path: Path) -> tuple[Metadata, Run]:
        """As `FileExporter.read`."""
        import onnxruntime

        data, metadata = _examined(path)
        try:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            limit_memory(options)
            options.intra_op_num_threads = torch.get_num_threads()
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # a runtime's errors have no common type
            found = f"{type(error).__name__}: {str(error)[:200]}"
            raise CheckpointError(str(path), "is no graph that onnxruntime runs", found, _FIX) from error
        names = [each.name for each in session.get_inputs()]
        if metadata.resizes and names == [INPUT]:
            return metadata, _resizing(session)
        if not set(names) <= set(metadata.inputs):
            found = f"it wants {', '.join(names)}"
            raise CheckpointError(str(path), f"does not take {', '.join(metadata.inputs)}", found, _FIX)

        def run(*inputs: Tensor) -> Sequence[Tensor]:
            arrays = {name: value.numpy() for name, value in zip(metadata.inputs, inputs, strict=True)}
            return [torch.from_numpy(each) for each in session.run(None, {name: arrays[name] for name in names})]

        return metadata, run


def _resizing(session: Any) -> Run:
    """A file that resizes, with the inputs of other files: the picture is cropped from its padding."""

    def run(pixels: Tensor, sizes: Tensor) -> Sequence[Tensor]:
        height, width = sizes[0].tolist()
        image = pixels[0, :, :height, :width].permute(1, 2, 0).contiguous()
        return [torch.from_numpy(each) for each in session.run(None, {INPUT: image.numpy()})]

    return run


def _translated(program: ExportedProgram, metadata: Metadata) -> Any:
    """The program as a `ModelProto`; ConfigError where ONNX has no place for it."""
    try:
        with _silent():
            onnx_program: Any = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(metadata.inputs),
                output_names=list(metadata.outputs),
                custom_translation_table=translations(),
                verbose=False,
            )
            model = onnx_program.model_proto
    except Exception as error:  # the exporter's errors have no common type
        detail = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        problem = "an operator of the model has no counterpart in ONNX"
        raise ConfigError("export", problem, detail[:300], "export to torch_export") from error
    if model.ByteSize() > _LONGEST_FILE:
        raise ConfigError("export", "an ONNX file holds less than 2 GiB", f"{model.ByteSize()} bytes")
    return model


def _strip_traces(model: Any) -> None:
    """Take out the stack traces that torch adds to every node: more than a megabyte, with paths of this machine."""
    for graph in _graphs(model):
        del graph.value_info[:]
        for node in graph.node:
            del node.metadata_props[:]


def _examined(path: Path) -> tuple[bytes, Metadata]:
    """The bytes and the metadata of a file, before a runtime opens it."""
    import onnx

    where = str(path)
    try:
        size = path.stat().st_size
        if size > _LONGEST_FILE:
            raise CheckpointError(where, "is too long for an ONNX file", f"{size} bytes", _FIX)
        data = path.read_bytes()
        model = onnx.load_model_from_string(data)
    except FileNotFoundError as error:
        raise CheckpointError(where, "does not exist") from error
    except CheckpointError:
        raise
    except Exception as error:  # protobuf's errors depend on how it was built
        raise CheckpointError(where, "is damaged, or no ONNX file", str(error)[:200], _FIX) from error
    text = next((each.value for each in model.metadata_props if each.key == KEY), None)
    if text is None:
        problem = "was not written by det: it lacks the metadata that name its outputs"
        raise CheckpointError(where, problem, fix="write it with `det export`")
    _require_standard(model, where, CheckpointError)
    for tensor in _tensors(model):
        _require_own(tensor, where)
    require_bounded(model, where)
    return data, Metadata.of_json(text, where)


def _graphs(model: Any) -> Iterator[Any]:
    """The graph of a model, and those within its nodes."""
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += list(attribute.graphs)


def _require_standard(model: Any, where: str, error: type[ConfigError] | type[CheckpointError]) -> None:
    """Raise `error` where the model has operators outside the ONNX standard."""
    domains = {node.domain for graph in _graphs(model) for node in graph.node}
    domains |= {function.domain for function in model.functions}
    others = sorted(domains - set(_STANDARD))
    if others:
        raise error(where, "has operators outside the ONNX standard", f"of {', '.join(others)}"[:200], _FIX)


def _tensors(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def _require_own(tensor: Any, where: str) -> None:
    """Raise CheckpointError where a tensor lies in another file, or is larger than what is there of it."""
    from onnx import TensorProto

    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        detail = f"{tensor.name!r:.80} does"
        raise CheckpointError(where, "keeps weights in other files, which det does not write", detail, _FIX)
    count = math.prod(tensor.dims)
    num_bytes = len(tensor.raw_data) + sum(
        len(getattr(tensor, name)) * 8
        for name in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
    )
    if min(tensor.dims, default=0) < 0 or count > min(num_bytes * 8, _EXTENSIVE * 8):
        detail = f"{tensor.name!r:.80} has {count} elements in {num_bytes} bytes"
        raise CheckpointError(where, "holds a tensor that is larger than the file", detail, _FIX)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Suppress the messages of the exporter."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
