"""Reading programs of torch.export, for all formats that end in `.pt2`."""

import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from det_core.errors import CheckpointError
from torch import Tensor

from det_export.archive import examined
from det_export.formats.base import Run
from det_export.formats.plain import require_plain
from det_export.metadata import Metadata

__all__ = ["read_program"]

_FIX = "export the model again"


def read_program(path: Path) -> tuple[Metadata, Run]:
    """The metadata of a file, and its computation; errors as of `FileExporter.load`."""
    import torchvision  # noqa: F401 (its operators)

    metadata = examined(path, ".pt2 file")
    with zipfile.ZipFile(path) as archive:
        require_plain(archive, str(path))
    if metadata.precision == "int8":
        from det_export.quantize import require_torchao

        require_torchao()  # its operators
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

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        outputs: Sequence[Tensor] = module(*inputs)
        return outputs

    return metadata, run
