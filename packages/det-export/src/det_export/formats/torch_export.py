"""`torch_export`: a `.pt2` file, which torch.export reads and torch runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch.export import ExportedProgram

from det_export.archive import NATIVE, names_of
from det_export.formats.base import FileExporter, Run
from det_export.formats.programs import read_program
from det_export.metadata import KEY, Metadata

__all__ = ["TorchExporter"]


class TorchExporter(FileExporter):
    """Writes a program of torch.export; `torch.export.load(path).module()` runs it where torch and torchvision are."""

    suffixes: ClassVar[Sequence[str]] = (".pt2",)
    format: ClassVar[str] = "torch_export"

    def write(self, program: ExportedProgram, metadata: Metadata, path: Path) -> None:
        """As `FileExporter.write`."""
        torch.export.save(program, path, extra_files={KEY: metadata.to_json()})

    def read(self, path: Path) -> tuple[Metadata, Run]:
        """As `FileExporter.read`; a package of AOTInductor, which ends alike, is read as one."""
        if any(NATIVE in f"/{name}" for name in names_of(path)):
            from det_export.formats.aoti import read_package

            return read_package(path, self.trust)
        return read_program(path)
