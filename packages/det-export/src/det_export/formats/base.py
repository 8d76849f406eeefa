"""What all formats share: the program that is written, its dynamic sizes, its facts, and whole files or none."""

import contextlib
import copy
import os
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from det_core.errors import ConfigError, DetError
from det_core.models.cpu import accelerate
from det_core.structures import ImageBatch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from det_export.exported import ExportedModel, model_of
from det_export.facts import Facts
from det_export.obstacles import require_exportable
from det_export.program import Program, padded

__all__ = ["FileExporter", "Run"]

Run = Callable[[Tensor, Tensor], Sequence[Tensor]]
"""Pixels and sizes, as `det_export.program.Program` takes them, to its outputs."""

_LARGEST = 4096
_FACTS: Mapping[str, Any] = {"classes": (), "category_ids": (), "recipe": ""}


class FileExporter(ABC):
    """Writes models of one format, and reads its files again.

    Args:
        dynamic: height and width of images are free, up to 4096; False fixes them to the example's, padded.

    Attributes:
        about: what else than the model is known: `classes`, `category_ids`, and `recipe`, the text of one that names
            the `data`; `Detector.export` fills it.
    """

    suffixes: ClassVar[Sequence[str]]
    format: ClassVar[str]

    def __init__(self, dynamic: bool = True) -> None:
        self.dynamic = dynamic
        self.about: dict[str, Any] = dict(_FACTS)
        self._last: tuple[ExportedProgram, Facts] | None = None

    def export(self, model: nn.Module, example: ImageBatch, path: Path) -> Path:
        """Write the file for as many images as `example` has; returns where, with the format's suffix.

        The model stays as it is. The file appears when it is whole.

        Raises:
            ConfigError: the model, or the size of the example, cannot be exported.
            MissingExtraError: a library that the format needs is not installed.
        """
        self.require()
        require_exportable(model, self.format)
        path = path if path.suffix in self.suffixes else path.with_name(path.name + self.suffixes[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        copied = accelerate(copy.deepcopy(model).cpu().eval(), on=False).requires_grad_(False)
        program = Program(copied, example.to("cpu")).eval()
        facts = self._facts(program, model)
        traced = self._traced(program, padded(example.to("cpu"), program.divisibility), facts)
        self._last = traced, facts
        with _whole(path) as temporary:
            self.write(traced, facts, temporary)
        return path

    def record(self, path: Path, agreement: Mapping[str, Any]) -> None:
        """Write the file that this exporter wrote last once more, with what its check measured."""
        if self._last is None:
            raise ConfigError("record", "nothing was exported before")
        traced, facts = self._last
        facts.agreement = dict(agreement)
        with _whole(path) as temporary:
            self.write(traced, facts, temporary)

    def load(self, path: Path) -> ExportedModel:
        """The model that a file holds, for prediction alone, on the CPU.

        Raises:
            CheckpointError: the file is missing, damaged, another program's, or asks for what no file of ours does.
            MissingExtraError: a library that the format needs is not installed.
        """
        self.require()
        facts, run = self.read(Path(path))
        return model_of(run, facts, str(path))

    def require(self) -> None:
        """MissingExtraError where a library is missing."""
        return

    @abstractmethod
    def write(self, program: ExportedProgram, facts: Facts, path: Path) -> None:
        """Write the program to `path`."""

    @abstractmethod
    def read(self, path: Path) -> tuple[Facts, Run]:
        """The facts of a file, and what it computes; errors as of `load`."""

    def _facts(self, program: Program, model: nn.Module) -> Facts:
        strides = getattr(getattr(model, "backbone", None), "strides", None) or {"": program.divisibility}
        # A map of a single row or column would be taken for one that always has a single one, and so would windows.
        sides = [max(strides.values()), *(getattr(each, "single_window", 0) for each in model.modules())]
        least = max(sides) // program.divisibility + 1
        return Facts(
            format=self.format,
            outputs=program.outputs,
            batch_size=program.batch_size,
            divisibility=program.divisibility,
            smallest=max(least, 2) * program.divisibility,
            largest=_LARGEST // program.divisibility * program.divisibility,
            fixed=None,
            num_classes=int(getattr(model, "num_classes", 0) or 0),
            finish=program.finish,
            **self.about,
        )

    def _traced(self, program: Program, arguments: tuple[Tensor, Tensor], facts: Facts) -> ExportedProgram:
        height, width = arguments[0].shape[-2:]
        dims: dict[int, Any] | None = None
        if self.dynamic:
            if min(height, width) < facts.smallest or max(height, width) > facts.largest:
                allowed = f"from {facts.smallest} to {facts.largest} pixels"
                raise ConfigError("export", f"images must have sides {allowed}", f"the example is {height} x {width}")
            dims = {2: _free("height", facts), 3: _free("width", facts)}
        else:
            facts.fixed = (height, width)
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of torchvision's operators, to its own authors
                shapes = None if dims is None else (dims, None)
                return torch.export.export(program, arguments, dynamic_shapes=shapes, strict=True)
        except DetError:
            raise
        except Exception as error:  # whatever torch.export raises: its errors have no common type
            fix = "docs/export.md lists which models can be exported, and why others cannot"
            raise ConfigError("export", "the model is no graph for torch.export", _first_line(error), fix) from error


def _free(name: str, facts: Facts) -> Any:
    step = facts.divisibility
    dim = Dim(name, min=facts.smallest // step, max=facts.largest // step)
    return step * dim if step > 1 else dim


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


@contextlib.contextmanager
def _whole(path: Path) -> Any:
    """A path beside `path`, of the same suffix, that is moved over it when everything went well."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(descriptor)
    try:
        yield Path(name)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
