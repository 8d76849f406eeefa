"""Evaluators, and the explanation of their metrics."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import nn

from det_core.structures import Prediction, Sample

__all__ = ["Analysis", "Evaluator", "Explanation"]


@runtime_checkable
class Evaluator(Protocol):
    """Evaluates predictions. Built with `classes`, the names of the labels."""

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image: its prediction, and the sample as stored, both in coordinates of `sample.image`."""

    def state(self) -> Any:
        """The images added so far, picklable, to be merged in another process."""

    def merge(self, states: Sequence[Any]) -> None:
        """Replace the added images by the states of all processes, including this one."""

    def result(self) -> dict[str, float]:
        """{"task/metric": value}, such as "bbox/AP50"; fractions are in [0, 1]."""


@runtime_checkable
class Explanation(Protocol):
    """Explanation of metrics; `det eval` prints it."""

    def as_json(self) -> dict[str, Any]:
        """Entries beside "metrics" and "notes" in the JSON of `det eval`."""

    def show(self) -> None:
        """Print it to a terminal."""

    def write_report(self, folder: Path, title: str, metrics: Mapping[str, float | None], notes: Sequence[str]) -> Path:
        """Write a report with `metrics` and `notes` into `folder`; returns its main file."""


@runtime_checkable
class Analysis(Evaluator, Protocol):
    """An evaluator without metrics that explains those of the others, named "analysis" in its hook.

    `det eval` updates it with each prediction like the other evaluators.
    """

    def explain(
        self, evaluators: Sequence[Evaluator], model: nn.Module, batches: Callable[[], Iterable[Any]]
    ) -> Explanation:
        """The explanation of all images, in the first process, after the states of all were merged.

        Args:
            evaluators: the other evaluators, after their `result`.
            model: the evaluated model. It predicts again only for options of the analysis that need it.
            batches: the images again, from the first, for such options.
        """
