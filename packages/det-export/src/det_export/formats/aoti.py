"""`aoti`: a `.pt2` package of AOTInductor, native code for the processor (or the GPU) that it was written on."""

import contextlib
import io
import logging
import platform
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from det_core.errors import CheckpointError, ConfigError, MissingExtraError
from torch import Tensor
from torch.export import ExportedProgram

from det_export.archive import NATIVE, append_metadata, examined, names_of, require_trust
from det_export.formats.base import FileExporter, Run
from det_export.metadata import Metadata

__all__ = ["AotiExporter", "read_package"]

_FIX = "export the model again, on the machine that runs it"


class AotiExporter(FileExporter):
    """Compiles the program ahead of time; `torch._inductor.aoti_load_package(path)` runs it.

    Args:
        device: "cpu" or "cuda". A package runs only on machines like the one that compiled it.
        others: further keyword arguments of `FileExporter`.

    Requires a C++ compiler, and takes minutes for a detector. A package contains native code: it loads only with
    `trust`.
    """

    suffixes: ClassVar[Sequence[str]] = (".pt2",)
    format: ClassVar[str] = "aoti"

    def __init__(
        self,
        dynamic: bool = True,
        precision: str = "fp32",
        calibrate: Path | None = None,
        keep_float: Sequence[str] = (),
        device: str = "cpu",
        dynamic_batch: bool = False,
    ) -> None:
        super().__init__(dynamic, precision, calibrate, keep_float, dynamic_batch)
        self.device = device
        self._compiled: tuple[ExportedProgram, bytes] | None = None

    def require(self) -> None:
        """As `FileExporter.require`; ConfigError where there is no such device."""
        super().require()
        if not any(shutil.which(name) for name in ("g++", "clang++", "c++", "cl")):
            fix = "install g++ or clang++, or export to torch_export or onnx"
            raise MissingExtraError("aoti", "needs a C++ compiler, and none is on the path", fix=fix)
        if self.device not in ("cpu", "cuda"):
            raise ConfigError("aoti", "compiles for cpu or cuda", f"got {self.device!r}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("aoti", "cannot compile for cuda", "there is no CUDA device", "compile for cpu")

    def write(self, program: ExportedProgram, metadata: Metadata, path: Path) -> None:
        """As `FileExporter.write`."""
        if self._compiled is None or self._compiled[0] is not program:
            self._compiled = program, _compiled(program, self.device, path)
        metadata.versions = {**metadata.versions, "machine": platform.machine(), "device": self.device}
        path.write_bytes(self._compiled[1])
        append_metadata(path, metadata)

    def read(self, path: Path) -> tuple[Metadata, Run]:
        """As `FileExporter.read`; a file of torch_export, which ends alike, is read as one."""
        if any(NATIVE in f"/{name}" for name in names_of(path)):
            return read_package(path, self.trust)
        from det_export.formats.programs import read_program

        return read_program(path)


def read_package(path: Path, trust: bool) -> tuple[Metadata, Run]:
    """The metadata of a package, and its computation.

    Raises:
        CheckpointError: the package is damaged, not trusted, or compiled for another machine.
    """
    import torchvision  # noqa: F401 (its operators)

    metadata = examined(path, ".pt2 file")
    require_trust(path, trust, "an AOTInductor package holds native code, which can do anything that you can")
    made_for = metadata.versions.get("machine", platform.machine())
    if made_for != platform.machine():
        found = f"this one is {platform.machine()}"
        raise CheckpointError(str(path), f"holds native code for {made_for}", found, _FIX)
    device = metadata.versions.get("device", "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise CheckpointError(str(path), "holds native code for a CUDA device", "there is none", _FIX)
    try:
        with _silent():
            package: Any = torch._inductor.aoti_load_package(str(path))
    except Exception as error:  # the loader's errors have no common type
        found = f"{type(error).__name__}: {str(error)[:200]}"
        raise CheckpointError(str(path), "is no package that this torch runs", found, _FIX) from error

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        outputs: Sequence[Tensor] = package(*(each.to(device) for each in inputs))
        return outputs

    return metadata, run


def _compiled(program: ExportedProgram, device: str, path: Path) -> bytes:
    if device == "cuda":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, "cuda")
    # Checks of sizes name symbols that the C++ code does not declare; what they check, the caller has checked. With
    # layouts chosen by inductor, transposed convolutions of as many regions as were found read theirs in another order.
    options = {"freezing": True, "scalar_asserts": False, "layout_optimization": False}
    package = path.with_name(f"{path.stem}.package.pt2")
    try:
        with torch.no_grad(), _silent():
            torch._inductor.aoti_compile_and_package(program, package_path=str(package), inductor_configs=options)
        return package.read_bytes()
    except Exception as error:  # the compiler's errors have no common type
        lines = [line.strip() for line in str(error).splitlines() if "error" in line.lower()] or [str(error)]
        fix = "export to torch_export or onnx"
        raise ConfigError("export", "AOTInductor cannot compile the model", lines[0][:300], fix) from error
    finally:
        package.unlink(missing_ok=True)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Suppress the messages of the compiler."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
