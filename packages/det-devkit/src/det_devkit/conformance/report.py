"""Checks and their results."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Check", "CheckResult", "ConformanceReport", "DoesNotApply", "Failed", "Status", "check"]

Status = Literal["passed", "failed", "does not apply"]


class Failed(Exception):  # noqa: N818 - it is a result
    """A component breaks a rule.

    Args:
        problem: description of the fault, with the offending value.
        fix: advice to the plugin's author.
    """

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem, self.fix = problem, fix

    def __str__(self) -> str:
        return f"{self.problem}; {self.fix}"


class DoesNotApply(Exception):  # noqa: N818 - it is a result
    """A check does not apply to a component, or cannot be run here; the message gives the reason."""


@dataclass(frozen=True)
class Check:
    """One rule.

    Attributes:
        name: the rule as a sentence.
        run: called with the component; returns if the rule holds, otherwise raises Failed or DoesNotApply.
        about: a sentence more than the name.
        gate: whether the checks after it are skipped if it fails.
        slow: whether the check takes many seconds.
    """

    name: str
    run: Callable[[Any], None]
    about: str
    gate: bool = False
    slow: bool = False


def check(name: str, *, gate: bool = False, slow: bool = False) -> Callable[[Callable[[Any], None]], Check]:
    """Make a check of a function; its docstring becomes the description in the documentation."""

    def decorate(run: Callable[[Any], None]) -> Check:
        return Check(name, run, " ".join((run.__doc__ or "").split()), gate, slow)

    return decorate


@dataclass(frozen=True)
class CheckResult:
    """Result of one check of one component; `reason` is "" where it passed."""

    component: str
    check: str
    status: Status
    reason: str = ""

    def __str__(self) -> str:
        mark = {"passed": "ok", "failed": "FAILED", "does not apply": "-"}[self.status]
        return f"{mark:>6}  {self.component}: {self.check}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class ConformanceReport:
    """All results of one plugin or component; printed, one line each and the sum at the end."""

    subject: str
    outcomes: tuple[CheckResult, ...]

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The failed checks."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "failed")

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    def __str__(self) -> str:
        counts: dict[str, int] = {}
        for outcome in self.outcomes:
            counts[outcome.status] = counts.get(outcome.status, 0) + 1
        total = ", ".join(f"{counts[s]} {s}" for s in ("passed", "failed", "does not apply") if s in counts)
        return "\n".join([*map(str, self.outcomes), f"{self.subject}: {total or 'nothing to check'}"])
