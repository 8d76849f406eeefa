"""`torch_export`: a `.pt2` file, which torch.export reads and torch runs."""

import io
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from det_core.errors import CheckpointError
from torch import Tensor
from torch.export import ExportedProgram

from det_export.facts import KEY, LONGEST, Facts
from det_export.formats.base import FileExporter, Run
from det_export.formats.plain import require_plain

__all__ = ["TorchExporter"]

_FILES = 100_000
_FIX = "export the model again"


class TorchExporter(FileExporter):
    """Writes a program of torch.export; `torch.export.load(path).module()` runs it where torch and torchvision are."""

    suffixes: ClassVar[Sequence[str]] = (".pt2",)
    format: ClassVar[str] = "torch_export"

    def write(self, program: ExportedProgram, facts: Facts, path: Path) -> None:
        """As `FileExporter.write`."""
        torch.export.save(program, path, extra_files={KEY: facts.to_json()})

    def read(self, path: Path) -> tuple[Facts, Run]:
        """As `FileExporter.read`."""
        import torchvision  # noqa: F401 (its operators)

        facts = _examined(path)
        loggers = [logging.getLogger(name) for name in ("torch._export.serde.serialize", "torch.export")]
        levels = [logger.level for logger in loggers]
        for logger in loggers:  # they warn of symbols that the graph does not need, and print what is raised
            logger.setLevel(logging.ERROR)
        try:
            module = torch.export.load(path).module()
        except Exception as error:  # the reader's errors have no common type
            found = f"{type(error).__name__}: {str(error)[:200]}"
            raise CheckpointError(str(path), "is no program that this torch reads", found, _FIX) from error
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)

        def run(pixels: Tensor, sizes: Tensor) -> Sequence[Tensor]:
            outputs: Sequence[Tensor] = module(pixels, sizes)
            return outputs

        return facts, run


def _examined(path: Path) -> Facts:
    """The facts of a file, before anything else of it is opened."""
    where = str(path)
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > _FILES or sum(entry.file_size for entry in entries) > size:
                # torch stores what it writes uncompressed: more than the file is long is a bomb.
                raise CheckpointError(where, "unpacks to more than torch.export writes", fix=_FIX)
            native = [e.filename for e in entries if "/data/aotinductor/" in f"/{e.filename}"]
            if native:
                fix = "load a file of the exporter torch_export"
                raise CheckpointError(where, "holds native code, which is not run", f"it has {native[0]}", fix)
            found = [entry for entry in entries if f"/{entry.filename}".endswith(f"/extra/{KEY}")]
            if not found:
                problem = "was not written by det: it does not say what its outputs are"
                raise CheckpointError(where, problem, fix="write it with `det export`")
            require_plain(archive, where)
            if found[0].file_size > LONGEST:
                raise CheckpointError(where, "says too much of itself", f"{found[0].file_size} bytes", _FIX)
            return Facts.of_json(archive.read(found[0]), where)
    except FileNotFoundError as error:
        raise CheckpointError(where, "does not exist") from error
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, io.UnsupportedOperation) as error:
        raise CheckpointError(where, "is damaged, or no .pt2 file", str(error)[:200], _FIX) from error
