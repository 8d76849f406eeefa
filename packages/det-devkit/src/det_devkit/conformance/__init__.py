"""The conformance kit: tests a plugin against the contracts of det, one sentence per check.

In the tests of a plugin, one file of two lines, `tests/test_conformance.py`, makes `pytest` collect the whole kit:

    from det_devkit.conformance import conformance
    test_conformance = conformance("det-acme")

which gives tests such as `det-acme::backbone acme_tiny::a batch of n gives what n single images give`;
checks that take long (torch.compile) are run by `pytest -m slow` only. For an installed plugin,
`pytest --det-plugin det-acme` does the same without a file,
and `python -m det_devkit.conformance det-acme` without pytest.
In Python:

    report = check_plugin("det-acme")
    print(report)
    assert report.ok

`examples` are for components that cannot be built from defaults, from the kit's placeholders or from the plugin's
recipes; see `conformance`. Importing this module imports neither torch nor pytest.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from det_devkit.conformance.report import Check, CheckResult, ConformanceReport, DoesNotApply, Failed
from det_devkit.conformance.spec import Conformance, Example

if TYPE_CHECKING:
    from det_core.structures import Prediction, Sample, Targets

__all__ = [
    "Check",
    "CheckResult",
    "Conformance",
    "ConformanceReport",
    "DoesNotApply",
    "Failed",
    "check_component",
    "check_plugin",
]
__all__ += ["conformance"]


def conformance(
    plugin: str,
    examples: Mapping[str, Example] | None = None,
    annotate: "Callable[[Targets], Targets] | None" = None,
    perfect: "Callable[[Prediction, Sample], Prediction] | None" = None,
) -> Conformance:
    """Every check of a plugin as a separate test; assign the result to a name that starts with "test".

    Args:
        plugin: name of the plugin's distribution, such as "det-acme".
        examples: "kind/name" ("backbones/acme_tiny") -> arguments for building that component: those without defaults,
            and others that keep it small. If files are needed, a function that writes them into a folder and returns
            the arguments. Arguments that parents pass to their parts (`channels`, `num_classes` ...) are set by the
            kit.
        annotate: adds the training targets (extras) of the plugin's heads and models to the targets of the kit's
            images.
        perfect: adds what evaluators of the plugin need to the kit's perfect prediction of a sample, which contains the
            ground-truth objects with their masks and keypoints.

    Without any of the three, the settings of the hook `det_conformance` of the distribution are used.
    """
    return Conformance(plugin, examples or {}, annotate, perfect)


def check_plugin(
    plugin: str,
    examples: Mapping[str, Example] | None = None,
    annotate: "Callable[[Targets], Targets] | None" = None,
    slow: bool = False,
) -> ConformanceReport:
    """Run every check of an installed plugin; the arguments are those of `conformance`.

    Args:
        slow: whether to run checks that take long (torch.compile).

    Raises:
        UnknownNameError: no plugin of this name is installed, or an example is of something that it does not offer.
    """
    from det_devkit.conformance.run import cases_of

    cases = cases_of(conformance(plugin, examples, annotate))
    return ConformanceReport(plugin, tuple(case.outcome(slow) for case in cases))


def check_component(
    kind: str,
    target: Callable[..., Any],
    example: Example | None = None,
    annotate: "Callable[[Targets], Targets] | None" = None,
    slow: bool = False,
) -> ConformanceReport:
    """Run every check of one component, which no plugin needs to provide yet: `check_component("backbones", MyNet)`.

    Args:
        kind: one of `det_core.plugins.hooks.KINDS` but "recipes".
        target: the class or function itself.
        example: arguments of the component, as in `conformance`.
        annotate: function that adds targets, as in `conformance`.
        slow: whether to run slow checks too.
    """
    from det_devkit.conformance.run import cases_of_component

    cases = cases_of_component(kind, target, example, annotate)
    return ConformanceReport(cases[0].component, tuple(case.outcome(slow) for case in cases))
