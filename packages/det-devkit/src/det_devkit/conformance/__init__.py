"""The conformance kit: holds a plugin to the contracts of det, one sentence per check.

In the tests of a plugin, one file of two lines, `tests/test_conformance.py`, makes `pytest` collect the whole kit:

    from det_devkit.conformance import conformance
    test_conformance = conformance("det-acme")

which gives tests such as `det-acme::backbone acme_tiny::a batch of n gives what n single images give`;
what takes long (torch.compile) is run by `pytest -m slow` alone. For a plugin that is only installed,
`pytest --det-plugin det-acme` does the same without a file,
and `python -m det_devkit.conformance det-acme` without pytest.
In Python:

    report = check_plugin("det-acme")
    print(report)
    assert report.ok

`examples` tell how to make what the kit cannot make from defaults, from its own stand-ins or from the plugin's recipes;
see `conformance`. Importing this module imports neither torch nor pytest.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from det_devkit.conformance.report import Check, DoesNotApply, Failed, Outcome, Report
from det_devkit.conformance.spec import Conformance, Example

if TYPE_CHECKING:
    from det_core.structures import Prediction, Sample, Targets

__all__ = ["Check", "Conformance", "DoesNotApply", "Failed", "Outcome", "Report", "check_component", "check_plugin"]
__all__ += ["conformance"]


def conformance(
    plugin: str,
    examples: Mapping[str, Example] | None = None,
    truth: "Callable[[Targets], Targets] | None" = None,
    perfect: "Callable[[Prediction, Sample], Prediction] | None" = None,
) -> Conformance:
    """Every check of a plugin as a test of its own; assign the result to a name that starts with "test".

    Args:
        plugin: the name of its distribution, "det-acme".
        examples: "kind/name" ("backbones/acme_tiny") -> how to make that component: the arguments without defaults, and
            others that keep it small. Where files are needed, a function that writes them into a folder and returns the
            arguments. What parents give to the parts that they build (`channels`, `num_classes` ...) is known.
        truth: adds to the targets of the kit's pictures what heads and models of the plugin learn from (extras).
        perfect: adds to the kit's perfect prediction of a sample, the objects of the ground truth with their masks and
            keypoints, what evaluators of the plugin need beside them.

    With none of the three, what the distribution names by its hook `det_conformance` is taken.
    """
    return Conformance(plugin, examples or {}, truth, perfect)


def check_plugin(
    plugin: str,
    examples: Mapping[str, Example] | None = None,
    truth: "Callable[[Targets], Targets] | None" = None,
    slow: bool = False,
) -> Report:
    """Run every check of an installed plugin; the arguments are those of `conformance`.

    Args:
        slow: also run what takes long (torch.compile).

    Raises:
        UnknownNameError: no plugin of this name is installed, or an example is of something that it does not offer.
    """
    from det_devkit.conformance.run import cases_of

    cases = cases_of(conformance(plugin, examples, truth))
    return Report(plugin, tuple(case.outcome(slow) for case in cases))


def check_component(
    kind: str,
    target: Callable[..., Any],
    example: Example | None = None,
    truth: "Callable[[Targets], Targets] | None" = None,
    slow: bool = False,
) -> Report:
    """Run every check of one component, which no plugin needs to offer yet: `check_component("backbones", MyNet)`.

    Args:
        kind: one of `det_core.plugins.hooks.KINDS` but "recipes".
        target: the class or function itself.
        example: its arguments, as in `conformance`.
        truth: as in `conformance`.
        slow: as in `check_plugin`.
    """
    from det_devkit.conformance.run import cases_of_component

    cases = cases_of_component(kind, target, example, truth)
    return Report(cases[0].component, tuple(case.outcome(slow) for case in cases))
