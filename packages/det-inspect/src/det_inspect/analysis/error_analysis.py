"""Error analysis of an evaluation: issues of format, and the AP50 cost of each error type; imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from det_inspect.analysis.error_kinds import ErrorCosts, ImageErrors, classify_errors, error_costs
from det_inspect.analysis.format_issues import FormatIssue, format_issues
from det_inspect.analysis.image_records import ImageRecord

__all__ = ["WHAT", "ErrorAnalysis", "analyze_errors"]

WHAT: Mapping[str, str] = {"bbox": "boxes", "segm": "masks", "keypoints": "keypoints"}
"""The objects that each IoU type compares, for titles."""


@dataclass(frozen=True)
class ErrorAnalysis:
    """Error analysis of an evaluation of boxes, and the costs of errors of masks and keypoints.

    Attributes:
        classes: the name of each label.
        images: ground truth and detections of each image.
        image_errors: error types of the detections of each image.
        errors: number and AP50 cost of each error type, by IoU of boxes.
        issues: probable mistakes of the data format.
        errors_in: errors as `errors`, by the IoU of masks ("segm") and the OKS of keypoints, if they were evaluated.
    """

    classes: tuple[str, ...]
    images: tuple[ImageRecord, ...]
    image_errors: tuple[ImageErrors, ...]
    errors: ErrorCosts
    issues: tuple[FormatIssue, ...]
    errors_in: Mapping[str, ErrorCosts] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """{"issues": [{"kind", "details", "fix"}], "errors": {kind: {"count", "costs"}}}; a cost is of AP50.

        "errors_in" has the same as "errors" under "segm" and "keypoints", if these were evaluated.
        """
        content = {"issues": [vars(each) for each in self.issues], "errors": self.errors.as_json()}
        return content | {"errors_in": {name: each.as_json() for name, each in self.errors_in.items()}}


def analyze_errors(
    images: Sequence[ImageRecord],
    classes: Sequence[str],
    unknown: Mapping[int, int] | None = None,
    category_ids: Sequence[int] | None = None,
) -> ErrorAnalysis:
    """Analyze all images; the arguments are those of `format_issues`."""
    image_errors = tuple(classify_errors(record) for record in images)
    return ErrorAnalysis(
        classes=tuple(classes),
        images=tuple(images),
        image_errors=image_errors,
        errors=error_costs(images, image_errors, len(classes)),
        issues=tuple(format_issues(images, classes, unknown, category_ids)),
    )
