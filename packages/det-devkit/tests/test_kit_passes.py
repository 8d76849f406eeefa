"""Components that keep every rule pass every check that applies to them."""

import kit_parts as parts
import pytest
from det_core.errors import MissingExtraError, UnknownNameError
from det_core.models import RPN
from det_devkit.conformance import check_component
from det_devkit.conformance.tables import CHECKS

GOOD = [
    ("backbones", parts.Net),
    ("heads", parts.Finder),
    ("heads", parts.Stage),
    ("heads", parts.Quality),
    ("heads", parts.Dense),
    ("heads", parts.Condense),
    ("heads", parts.Predictor),
    ("heads", parts.Pixels),
    ("models", parts.Whole),
    ("datasets", parts.Pictures),
    ("evaluators", parts.Count),
    ("exporters", parts.Writer),
]
EXPORTED = (parts.Net, parts.Dense, parts.Condense, parts.Predictor, parts.Pixels)


@pytest.mark.parametrize(("kind", "good"), GOOD, ids=lambda value: getattr(value, "__name__", value))
def test_valid_component_passes(kind, good):
    report = check_component(kind, good)
    assert report.ok, str(report)
    assert [outcome.check for outcome in report.outcomes] == [check.name for check in CHECKS[kind]]
    aside = {outcome.check: outcome.reason for outcome in report.outcomes if outcome.status == "does not apply"}
    assert ("torch.export gives what eager gives" in aside) == (kind in ("heads", "models") and good not in EXPORTED)
    assert set(aside) <= {
        "torch.export gives what eager gives",
        "torch.compile gives what eager gives",
        "the GPU agrees with the CPU",
        "the file predicts what the model predicts",
        "the model is unchanged",
    }


def test_skipped_checks_give_reasons():
    (outcome,) = [o for o in check_component("heads", RPN).outcomes if "torch.export" in o.check]
    assert outcome.status == "does not apply"
    assert outcome.reason == "the number of outputs of a ProposalGenerator depends on the image"


def test_report_prints_line_per_check_and_sum():
    report = check_component("evaluators", parts.Count)
    lines = str(report).splitlines()
    assert len(lines) == len(report.outcomes) + 1
    assert lines[0] == "    ok  evaluator Count: its target can be imported"
    assert lines[-1] == f"evaluator Count: {len(report.outcomes)} passed"


def test_example_accepts_plain_data_built_values_and_functions(tmp_path):
    seen = []

    def files(folder):
        (folder / "a.txt").write_text("here")
        seen.append(folder)
        return {"width": 4}

    for example in ({"width": 4}, files):
        assert check_component("backbones", parts.Net, example).ok
    assert len(seen) == 1


def test_unknown_kind_is_refused():
    with pytest.raises(UnknownNameError, match=r"kind 'backbone'.*it is one of backbones, heads"):
        check_component("backbone", parts.Net)


def test_component_with_missing_extra_is_skipped():
    class Needy:
        """A network of acme."""

        def __init__(self):
            raise MissingExtraError("Needy", "needs acme, which is not installed", fix="pip install 'det-needy[acme]'")

    report = check_component("backbones", Needy)
    assert report.ok, str(report)
    assert "needs acme, which is not installed" in str(report)
