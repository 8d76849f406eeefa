"""Makes a test of every check, for pytest.

pytest loads this module in every run where det-devkit is installed, so it imports only pytest and is inactive without
`--det-plugin det-acme` or a test module with a `Conformance`.
"""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from det_devkit.conformance import Conformance
    from det_devkit.conformance.run import Case

_SLOW = "slow: takes long; run by -m slow only"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare --det-plugin."""
    group = parser.getgroup("det", "det plugins")
    group.addoption(
        "--det-plugin",
        action="append",
        default=[],
        metavar="NAME",
        help="run the conformance checks of this installed det plugin too (det-acme); may be given several times",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the checks of the plugins that the command line names, before -k and -m choose."""
    for name in config.getoption("--det-plugin"):
        from det_devkit.conformance import conformance

        node = PluginNode.from_parent(session, name=name, nodeid=name, settings=conformance(name))
        items.extend(session.genitems(node))


def pytest_pycollect_makeitem(collector: Any, name: str, obj: Any) -> "PluginNode | None":
    """A `Conformance` in a test module becomes the tests of its plugin."""
    testing = sys.modules.get("det_devkit.conformance")
    if testing is None or not isinstance(obj, testing.Conformance) or not collector.funcnamefilter(name):
        return None
    return PluginNode.from_parent(collector, name=obj.plugin, settings=obj)


class PluginNode(pytest.Collector):
    """All checks of one plugin."""

    def __init__(self, *, settings: "Conformance", **rest: Any) -> None:
        super().__init__(**rest)
        self.settings = settings

    def collect(self) -> Iterator["ComponentNode"]:
        """One node per component, the package itself first."""
        from det_core.errors import DetError

        from det_devkit.conformance.run import cases_of

        try:
            cases = cases_of(self.settings)
        except DetError as error:
            raise self.CollectError(str(error)) from error
        if "slow" not in {line.partition(":")[0].strip() for line in self.config.getini("markers")}:
            self.config.addinivalue_line("markers", _SLOW)
        by_component: dict[str, list[Case]] = {}
        for case in cases:
            by_component.setdefault(case.component, []).append(case)
        for component, component_cases in by_component.items():
            yield ComponentNode.from_parent(self, name=component, cases=component_cases)


class ComponentNode(pytest.Collector):
    """All checks of one component."""

    def __init__(self, *, cases: "list[Case]", **rest: Any) -> None:
        super().__init__(**rest)
        self.cases = cases

    def collect(self) -> Iterator["CheckItem"]:
        """One test per check."""
        for case in self.cases:
            yield CheckItem.from_parent(self, name=case.check.name, case=case)


class CheckItem(pytest.Item):
    """One check of one component."""

    def __init__(self, *, case: "Case", **rest: Any) -> None:
        super().__init__(**rest)
        self.case = case
        if case.check.slow:
            self.add_marker("slow")

    def runtest(self) -> None:
        """Pass, fail, or skip with the reason why the check does not apply."""
        from det_devkit.conformance import DoesNotApply

        if self.case.check.slow and "slow" not in (self.config.getoption("markexpr") or ""):
            pytest.skip("it takes long; -m slow runs it")
        try:
            self.case.run()
        except DoesNotApply as reason:
            pytest.skip(str(reason))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The message alone for a failed check; with the traceback where the component raised."""
        from det_devkit.conformance import Failed

        if isinstance(excinfo.value, Failed) and excinfo.value.__cause__ is None:
            return f"{self.case.component}: {excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Location of the test."""
        return self.path, None, self.nodeid.partition("::")[2] or self.name
