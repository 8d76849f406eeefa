"""Error analysis of an evaluation: sanity-check warnings, and the AP50 cost of each error type; imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from det_inspect.analysis.error_kinds import ErrorCosts, Judged, classify_errors, error_costs
from det_inspect.analysis.image_records import ImageRecord
from det_inspect.analysis.suspicions import Suspicion, suspicions

__all__ = ["WHAT", "Diagnosis", "diagnose"]

WHAT: Mapping[str, str] = {"bbox": "boxes", "segm": "masks", "keypoints": "keypoints"}
"""What the overlap of each error analysis compares."""


@dataclass(frozen=True)
class Diagnosis:
    """Error analysis of an evaluation of boxes, and the costs of errors of masks and keypoints.

    Attributes:
        classes: the name of each label.
        images: recorded images.
        judged: error type of each detection of each image.
        errors: AP50 cost of each error type.
        suspicions: warnings about probable mistakes of format.
        errors_in: as `errors`, by the IoU of masks ("segm") and the OKS of keypoints, if they were evaluated.
    """

    classes: tuple[str, ...]
    images: tuple[ImageRecord, ...]
    judged: tuple[Judged, ...]
    errors: ErrorCosts
    suspicions: tuple[Suspicion, ...]
    errors_in: Mapping[str, ErrorCosts] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """{"suspicions": [{"kind", "evidence", "fix"}], "errors": {kind: {"count", "costs"}}}; a cost is of AP50.

        "errors_in" has the same as "errors" under "segm" and "keypoints", if these were evaluated.
        """
        told = {"suspicions": [vars(each) for each in self.suspicions], "errors": self.errors.as_json()}
        return told | {"errors_in": {name: each.as_json() for name, each in self.errors_in.items()}}


def diagnose(
    images: Sequence[ImageRecord],
    classes: Sequence[str],
    unknown: Mapping[int, int] | None = None,
    category_ids: Sequence[int] | None = None,
) -> Diagnosis:
    """Analyze all recorded images; the arguments are those of `suspicions`."""
    judged = tuple(classify_errors(seen) for seen in images)
    return Diagnosis(
        classes=tuple(classes),
        images=tuple(images),
        judged=judged,
        errors=error_costs(images, judged, len(classes)),
        suspicions=tuple(suspicions(images, classes, unknown, category_ids)),
    )
