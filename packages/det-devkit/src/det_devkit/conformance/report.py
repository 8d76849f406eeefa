"""What a check is, and what comes out of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Check", "DoesNotApply", "Failed", "Outcome", "Report", "Status", "check"]

Status = Literal["passed", "failed", "does not apply"]


class Failed(Exception):  # noqa: N818 - it is an outcome
    """A component breaks a rule.

    Args:
        problem: what is wrong, and what was found.
        fix: what its author should do.
    """

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem, self.fix = problem, fix

    def __str__(self) -> str:
        return f"{self.problem}; {self.fix}"


class DoesNotApply(Exception):  # noqa: N818 - it is an outcome
    """A check has nothing to say about a component, or cannot be made here; the message says why."""


@dataclass(frozen=True)
class Check:
    """One rule.

    Attributes:
        name: the rule as a sentence.
        judge: called with what is to be judged; returns if the rule is kept, else raises Failed or DoesNotApply.
        about: one sentence more than the name.
        gate: whether the checks after it make no sense where it fails.
        slow: whether it takes long.
    """

    name: str
    judge: Callable[[Any], None]
    about: str
    gate: bool = False
    slow: bool = False


def check(name: str, *, gate: bool = False, slow: bool = False) -> Callable[[Callable[[Any], None]], Check]:
    """Make a check of a function; its docstring is what the documentation says of the rule."""

    def decorate(judge: Callable[[Any], None]) -> Check:
        return Check(name, judge, " ".join((judge.__doc__ or "").split()), gate, slow)

    return decorate


@dataclass(frozen=True)
class Outcome:
    """What one check said of one component; `reason` is "" where it passed."""

    component: str
    check: str
    status: Status
    reason: str = ""

    def __str__(self) -> str:
        mark = {"passed": "ok", "failed": "FAILED", "does not apply": "-"}[self.status]
        return f"{mark:>6}  {self.component}: {self.check}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class Report:
    """All outcomes of one plugin or component; printed, one line each and the sum at the end."""

    subject: str
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """What has to be mended."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "failed")

    @property
    def ok(self) -> bool:
        """Whether nothing has to be mended."""
        return not self.failed

    def __str__(self) -> str:
        counts: dict[str, int] = {}
        for outcome in self.outcomes:
            counts[outcome.status] = counts.get(outcome.status, 0) + 1
        total = ", ".join(f"{counts[s]} {s}" for s in ("passed", "failed", "does not apply") if s in counts)
        return "\n".join([*map(str, self.outcomes), f"{self.subject}: {total or 'nothing to check'}"])
