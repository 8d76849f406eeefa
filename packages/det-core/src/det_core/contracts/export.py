"""Exporters, and the exported form of models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from det_core.contracts.models import Model
from det_core.structures import ImageBatch

__all__ = ["Exportable", "Exported", "Exporter"]


class Exported(NamedTuple):
    """The exported form of a model or of a part, some of whose steps cannot be exported.

    Attributes:
        model: predicts up to those steps; None for the model itself. Ignored for a part.
        constants: tensors that the steps need, by qualified names; extras of every prediction of the file.
        finish: recipe node of a safe part that maps a `Prediction` of the file to one with the steps done.
    """

    model: nn.Module | None = None
    constants: Mapping[str, Tensor] = {}
    finish: Mapping[str, Any] | None = None


@runtime_checkable
class Exportable(Protocol):
    """A model, or a part of one, some of whose steps cannot be exported."""

    def exported(self) -> Exported:
        """Its exported form."""
        ...


@runtime_checkable
class Exporter(Protocol):
    """Writes a model to a file that runs without det, and reads that file again.

    Attributes:
        suffixes: file suffixes, such as ".onnx"; of the class itself, for `Detector.load`.
        about: set before `export`: "classes" by label, "category_ids" of the dataset, "recipe", the text of one with
            `model` and `data` or "", and "weights", the file or address that they were read from or "". A model from
            `load` may have the first three as attributes; then `det eval` evaluates it with the transforms of the data.
        trust: set before `load`; formats whose files run code of their own refuse them where it is False.
    """

    suffixes: Sequence[str]
    about: Mapping[str, Any]
    trust: bool

    def export(self, model: Model, example: ImageBatch, path: Path) -> Path:
        """Write the file; returns where."""

    def load(self, path: Path) -> Model:
        """The written file as a model for prediction only, which has `num_classes`."""
