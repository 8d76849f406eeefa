"""The checks of a plugin, and running one."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from det_core.errors import ConfigError, MissingExtraError, UnknownNameError
from det_core.plugins import canonical, catalog, registry
from det_core.plugins.hooks import KINDS

from det_devkit.conformance.package import Package
from det_devkit.conformance.recipes import NamedRecipe
from det_devkit.conformance.report import Check, CheckResult, DoesNotApply, Failed
from det_devkit.conformance.spec import Conformance, Example
from det_devkit.conformance.subject import Subject
from det_devkit.conformance.tables import CHECKS, ROLES

__all__ = ["Case", "cases_of", "cases_of_component"]


@dataclass(frozen=True, eq=False)
class Case:
    """One check of one component.

    Attributes:
        component: name of the component in reports, "backbone acme_tiny".
        subject: component under test, the check's argument.
        gates: checks before it that have to pass.
        known: results of the gates, shared by all cases of a component.
    """

    component: str
    check: Check
    subject: Any
    gates: tuple[Check, ...] = ()
    gate_results: dict[str, bool] = field(default_factory=dict)

    def run(self) -> None:
        """Return if the rule holds.

        Raises:
            Failed: it does not; an exception of the component is the cause.
            DoesNotApply: the check does not apply.
        """
        for gate in self.gates:
            if not self._holds(gate):
                raise DoesNotApply(f"{gate.name!r} does not hold")
        self._run(self.check)

    def outcome(self, slow: bool = True) -> CheckResult:
        """The result of `run` as a value; unless `slow`, slow checks are not run."""
        try:
            if self.check.slow and not slow:
                raise DoesNotApply("it takes long; slow=True runs it")
            self.run()
        except DoesNotApply as reason:
            return CheckResult(self.component, self.check.name, "does not apply", str(reason))
        except Failed as reason:
            return CheckResult(self.component, self.check.name, "failed", str(reason))
        return CheckResult(self.component, self.check.name, "passed")

    def _holds(self, gate: Check) -> bool:
        if gate.name not in self.gate_results:
            with suppress(Failed, DoesNotApply):  # reported by the gate's own case
                self._run(gate)
        return self.gate_results[gate.name]

    def _run(self, check: Check) -> None:
        self.gate_results[check.name] = False
        with _undisturbed():
            try:
                check.run(self.subject)
            except (Failed, DoesNotApply):
                raise
            except MissingExtraError as error:  # the extra is not installed here: the check does not apply
                raise DoesNotApply(str(error)) from error
            except Exception as error:
                problem = f"raises {type(error).__name__}: {' '.join(str(error).split())[:300]}"
                raise Failed(problem, "nothing may be raised here") from error
        self.gate_results[check.name] = True


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Every check starts from the same random numbers, and restores the state of the generators."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        yield


def cases_of(settings: Conformance) -> list[Case]:
    """Every check of a plugin, the package itself first.

    Raises:
        UnknownNameError: no plugin of this name is installed, or an example is of something that it does not offer.
    """
    name = canonical(settings.plugin)
    entries = [plugin for plugin in catalog().plugins if plugin.distribution == name]
    if not entries:
        installed = sorted({plugin.distribution for plugin in catalog().plugins})
        fix = registry.did_you_mean(name, installed) or "install it, with `pip install -e .` in its folder"
        raise UnknownNameError(
            f"plugin {settings.plugin!r}", "is not installed", f"there is {', '.join(installed)}", fix
        )
    if not settings.examples and settings.annotate is None and settings.perfect is None:
        settings = _declared_settings(name) or settings
    examples = dict(settings.examples)
    cases = _cases("package", CHECKS["package"], Package(name))
    offered = [component for kind in KINDS for component in registry.components(kind) if component.distribution == name]
    files: set[str] = set()
    siblings: list[Subject] = []
    for component in sorted(offered, key=lambda c: (KINDS.index(c.kind), "/" in c.name, c.name)):
        if component.kind == "recipes":
            if component.target in files:
                continue  # an alias
            files.add(component.target)
            subject: Any = NamedRecipe(component.qualified)
        else:
            example = examples.pop(f"{component.kind}/{component.name}", None)
            make_role, load = ROLES[component.kind], component.load
            words: dict[str, Any] = {"example": example, "annotate": settings.annotate, "perfect": settings.perfect}
            subject = Subject(component.kind, component.name, load, make_role, name, **words, siblings=siblings)
            siblings.append(subject)
        cases += _cases(f"{component.kind[:-1]} {component.name}", CHECKS[component.kind], subject)
    if examples:
        choices = [f"{component.kind}/{component.name}" for component in offered]
        first = next(iter(examples))
        fix = registry.did_you_mean(first, choices) or f"it offers {', '.join(choices)}"
        raise UnknownNameError(f"examples[{first!r}]", f"{name} offers nothing of this name", fix=fix)
    return cases


def _declared_settings(name: str) -> Conformance | None:
    """The settings of the distribution itself, by the hook `det_conformance`."""
    offered = [each for each in registry.components("conformance") if each.distribution == name]
    if len(offered) > 1:
        raise ConfigError(f"{name}: det_conformance", "must name one Conformance", f"it names {len(offered)}")
    if not offered:
        return None
    settings = offered[0].resolve()
    if not isinstance(settings, Conformance):
        found = f"{offered[0].target} is a {type(settings).__name__}"
        raise ConfigError(f"{name}: det_conformance", "must lead to a Conformance", found)
    return settings


def cases_of_component(kind: str, target: Any, example: Example | None, annotate: Any) -> list[Case]:
    """Every check of one component, independent of plugins."""
    if kind not in KINDS or kind == "recipes":
        fix = f"it is one of {', '.join(k for k in KINDS if k != 'recipes')}"
        raise UnknownNameError(f"kind {kind!r}", "is none of a component", fix=fix)
    name = getattr(target, "__name__", str(target))
    subject = Subject(kind, name, lambda: target, ROLES[kind], example=example, annotate=annotate)
    return _cases(f"{kind[:-1]} {name}", CHECKS[kind], subject)


def _cases(component: str, checks: tuple[Check, ...], subject: Any) -> list[Case]:
    gate_results: dict[str, bool] = {}
    cases = []
    for number, check in enumerate(checks):
        gates = tuple(gate for gate in checks[:number] if gate.gate)
        cases.append(Case(component, check, subject, gates, gate_results))
    return cases
