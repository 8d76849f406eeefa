"""Analysis that `det eval` runs in addition to the evaluators: error costs, sanity checks, and the report of both.

No torch is needed here, except where a model is evaluated.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from det_core.errors import ConfigError

from det_inspect.analysis.detection_recorder import DetectionRecorder
from det_inspect.analysis.diagnosis import Diagnosis, diagnose
from det_inspect.analysis.error_kinds import ErrorCosts
from det_inspect.analysis.error_overlaps import costs_by
from det_inspect.analysis.image_records import records_of
from det_inspect.analysis.page import write_page
from det_inspect.analysis.show import show_diagnosis

if TYPE_CHECKING:
    from det_core.contracts import Evaluator
    from det_core.data import Batch
    from torch import nn

    from det_inspect.results.coco_files import CocoFiles

__all__ = ["Analysis", "Explanation", "explanation_of"]


@dataclass(frozen=True)
class Explanation:
    """A diagnosis in the three forms that `det eval` gives it.

    Attributes:
        diagnosis: None where no image has boxes to explain.
        images: the folder that names of images start from; None takes them as they are.
    """

    diagnosis: Diagnosis | None
    images: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """{"suspicions": [...], "errors": {...}, "errors_in": {...}}; {} without a diagnosis."""
        return {} if self.diagnosis is None else self.diagnosis.as_json()

    def show(self) -> None:
        """Print a table of errors and the suspicions."""
        if self.diagnosis is not None:
            show_diagnosis(self.diagnosis)

    def write_report(self, folder: Path, title: str, metrics: Mapping[str, float | None], notes: Sequence[str]) -> Path:
        """Write `index.html` into `folder`; returns where it is. ConfigError if it cannot be written."""
        return write_page(folder, title, metrics, notes, self.diagnosis, self.images)


class Analysis(DetectionRecorder):
    """The costs of error types (TIDE) and sanity checks; keeps the boxes of each image until `explain`.

    Args:
        classes: the name of each label.
        channels: also predict the first images with red and blue exchanged, to find weights that want the other order.
        channel_images: how many images that takes, at least.
    """

    def __init__(self, classes: Sequence[str], channels: bool = False, channel_images: int = 16) -> None:
        super().__init__(classes)
        if channel_images < 1:
            raise ConfigError("channel_images", "must be at least 1", f"got {channel_images}")
        self.channels, self.channel_images = channels, channel_images

    def explain(
        self, evaluators: "Sequence[Evaluator]", model: "nn.Module", batches: "Callable[[], Iterable[Batch]]"
    ) -> Explanation:
        """The explanation of all images; errors of masks and keypoints are those of the COCO evaluators among these.

        Args:
            evaluators: those whose metrics are explained.
            model: the evaluated one, used with `channels` alone.
            batches: the images once more, used with `channels` alone.
        """
        from det_core.evaluation import CocoEvaluator

        why = self.diagnosis()
        if why is None:
            return Explanation(None)
        others: dict[str, ErrorCosts] = {
            iou_type: costs_by(iou_type, *each.tables(iou_type), len(each.classes), each.sigmas)
            for each in evaluators
            if isinstance(each, CocoEvaluator)
            for iou_type in each.iou_types
            if iou_type != "bbox"
        }
        why = replace(why, errors_in=others)
        if self.channels:
            from det_inspect.analysis.channels import reversed_channels

            found = reversed_channels(model, batches(), self._images, self.classes, self.channel_images)
            why = why if found is None else replace(why, suspicions=(*why.suspicions, found))
        return Explanation(why)


def explanation_of(files: "CocoFiles", images: Path | None = None) -> Explanation:
    """The explanation of a file of results; `images` is the folder that names of images start from."""
    why = diagnose(records_of(files), files.classes, files.unknown, files.category_ids)
    others = [iou_type for iou_type in files.iou_types if iou_type != "bbox"]
    costs: dict[str, ErrorCosts] = {
        name: costs_by(name, files.truth, files.found, len(files.classes)) for name in others
    }
    return Explanation(replace(why, errors_in=costs), images)
