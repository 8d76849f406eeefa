"""Why the figures are as they are: what is suspicious, and what each kind of error costs. No torch is needed here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from det_inspect.analysis.error_kinds import ErrorCosts, Judged, error_costs, judge
from det_inspect.analysis.evidence import Seen
from det_inspect.analysis.suspicions import Suspicion, suspicions

__all__ = ["WHAT", "Diagnosis", "diagnose"]

WHAT: Mapping[str, str] = {"bbox": "boxes", "segm": "masks", "keypoints": "keypoints"}
"""What the errors of each kind of overlap are errors of."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found out about an evaluation of boxes, and what errors of masks and keypoints cost.

    Attributes:
        classes: the name of each label.
        images: what was judged.
        judged: what each detection of them is.
        errors: what each kind of error costs.
        suspicions: what is probably not meant so.
        errors_in: the same as `errors` by the overlaps of masks ("segm") and of keypoints, where they were judged.
    """

    classes: tuple[str, ...]
    images: tuple[Seen, ...]
    judged: tuple[Judged, ...]
    errors: ErrorCosts
    suspicions: tuple[Suspicion, ...]
    errors_in: Mapping[str, ErrorCosts] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """{"suspicions": [{"kind", "evidence", "fix"}], "errors": {kind: {"count", "costs"}}}; a cost is of AP50.

        "errors_in" has the same as "errors" under "segm" and "keypoints", where these were judged.
        """
        told = {"suspicions": [vars(each) for each in self.suspicions], "errors": self.errors.as_json()}
        return told | {"errors_in": {name: each.as_json() for name, each in self.errors_in.items()}}


def diagnose(
    images: Sequence[Seen],
    classes: Sequence[str],
    unknown: Mapping[int, int] | None = None,
    category_ids: Sequence[int] | None = None,
) -> Diagnosis:
    """Look at all that was judged; the arguments are those of `suspicions`."""
    judged = tuple(judge(seen) for seen in images)
    return Diagnosis(
        classes=tuple(classes),
        images=tuple(images),
        judged=judged,
        errors=error_costs(images, judged, len(classes)),
        suspicions=tuple(suspicions(images, classes, unknown, category_ids)),
    )
