"""Why the figures are as they are: what is suspicious, and what each kind of error costs. No torch is needed here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from det_core.evaluation.error_kinds import ErrorCosts, Judged, error_costs, judge
from det_core.evaluation.evidence import Seen
from det_core.evaluation.suspicions import Suspicion, suspicions

__all__ = ["Diagnosis", "diagnose"]


@dataclass(frozen=True)
class Diagnosis:
    """What was found out about an evaluation of boxes.

    Attributes:
        classes: the name of each label.
        images: what was judged.
        judged: what each detection of them is.
        errors: what each kind of error costs.
        suspicions: what is probably not meant so.
    """

    classes: tuple[str, ...]
    images: tuple[Seen, ...]
    judged: tuple[Judged, ...]
    errors: ErrorCosts
    suspicions: tuple[Suspicion, ...]

    def as_json(self) -> dict[str, Any]:
        """{"suspicions": [{"kind", "evidence", "fix"}], "errors": {kind: {"count", "costs"}}}; a cost is of AP50."""
        errors = {kind: {"count": n, "costs": self.errors.costs.get(kind)} for kind, n in self.errors.counts.items()}
        return {"suspicions": [vars(each) for each in self.suspicions], "errors": errors}


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
