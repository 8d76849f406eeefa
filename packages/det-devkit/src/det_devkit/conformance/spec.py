"""Settings of the conformance kit for a plugin. Importing this imports neither torch nor pytest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from det_core.structures import Prediction, Sample, Targets

__all__ = ["Conformance", "Example"]

Example = Mapping[str, Any] | Callable[[Path], Mapping[str, Any]]
"""Arguments of a component, as in a recipe or in Python, or a function from an empty folder to them."""


@dataclass(frozen=True, eq=False)
class Conformance:
    """Settings of the kit for a plugin; in a test module, pytest makes tests of it."""

    plugin: str
    examples: Mapping[str, Example] = field(default_factory=dict)
    annotate: "Callable[[Targets], Targets] | None" = None
    perfect: "Callable[[Prediction, Sample], Prediction] | None" = None
