"""What a test module says of the plugin that the kit checks. Importing this imports neither torch nor pytest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from det_core.structures import Prediction, Sample, Targets

__all__ = ["Conformance", "Example"]

Example = Mapping[str, Any] | Callable[[Path], Mapping[str, Any]]
"""The arguments of a component as a recipe or as Python would give them, or a function from an empty folder to them."""


@dataclass(frozen=True, eq=False)
class Conformance:
    """What a test module says about the plugin to be judged; pytest makes tests of it."""

    plugin: str
    examples: Mapping[str, Example] = field(default_factory=dict)
    truth: "Callable[[Targets], Targets] | None" = None
    perfect: "Callable[[Prediction, Sample], Prediction] | None" = None
