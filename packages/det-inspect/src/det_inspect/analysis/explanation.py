"""Analysis that `det eval` runs in addition to the evaluators: error costs, sanity checks, and the report of both.

No torch is needed here, except where a model is evaluated.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from det_core.errors import ConfigError

from det_inspect.analysis.detection_recorder import DetectionRecorder
from det_inspect.analysis.error_analysis import ErrorAnalysis, analyze_errors
from det_inspect.analysis.error_kinds import ErrorCosts
from det_inspect.analysis.error_overlaps import costs_by
from det_inspect.analysis.image_records import image_records
from det_inspect.analysis.page import write_page
from det_inspect.analysis.show import show_error_analysis

if TYPE_CHECKING:
    from det_core.contracts import Evaluator
    from det_core.data import Batch
    from torch import nn

    from det_inspect.results.coco_files import CocoFiles

__all__ = ["Analysis", "Explanation", "explanation_of"]


@dataclass(frozen=True)
class Explanation:
    """An error analysis in the three forms that `det eval` writes.

    Attributes:
        error_analysis: None if no image has boxes to analyze.
        images: folder that file names are relative to; None: the current folder, or they are absolute.
    """

    error_analysis: ErrorAnalysis | None
    images: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """{"issues": [...], "errors": {...}, "errors_in": {...}}; {} without an error analysis."""
        return {} if self.error_analysis is None else self.error_analysis.as_json()

    def show(self) -> None:
        """Print a table of errors, and the issues of format."""
        if self.error_analysis is not None:
            show_error_analysis(self.error_analysis)

    def write_report(self, folder: Path, title: str, metrics: Mapping[str, float | None], notes: Sequence[str]) -> Path:
        """Write `index.html` into `folder`; returns where it is. ConfigError if it cannot be written."""
        return write_page(folder, title, metrics, notes, self.error_analysis, self.images)


class Analysis(DetectionRecorder):
    """The costs of error types (TIDE) and sanity checks; keeps the boxes of each image until `explain`.

    Args:
        classes: the name of each label.
        channels: also predict the first images with red and blue exchanged, to detect weights of the other order; off
            by default, because it runs the model again.
        channel_images: minimum number of images for that, in whole batches.
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
            evaluators: evaluators of the run; masks and keypoints are analyzed if a COCO evaluator among them has them.
            model: the evaluated model; used only with `channels`.
            batches: iterates over the evaluated images again; used only with `channels`.
        """
        from det_core.evaluation import CocoEvaluator

        analysis = self.error_analysis()
        if analysis is None:
            return Explanation(None)
        others: dict[str, ErrorCosts] = {
            iou_type: costs_by(iou_type, *each.tables(iou_type), len(each.classes), each.sigmas)
            for each in evaluators
            if isinstance(each, CocoEvaluator)
            for iou_type in each.iou_types
            if iou_type != "bbox"
        }
        analysis = replace(analysis, errors_in=others)
        if self.channels:
            from det_inspect.analysis.channels import reversed_channels

            issue = reversed_channels(model, batches(), self._images, self.classes, self.channel_images)
            analysis = analysis if issue is None else replace(analysis, issues=(*analysis.issues, issue))
        return Explanation(analysis)


def explanation_of(files: "CocoFiles", images: Path | None = None) -> Explanation:
    """The explanation of a file of results; `images` is the folder that names of images start from."""
    analysis = analyze_errors(image_records(files), files.classes, files.unknown, files.category_ids)
    others = [iou_type for iou_type in files.iou_types if iou_type != "bbox"]
    costs: dict[str, ErrorCosts] = {
        name: costs_by(name, files.ground_truth, files.detections, len(files.classes)) for name in others
    }
    return Explanation(replace(analysis, errors_in=costs), images)
