"""Models built from published settings say what the published models said."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from det_detectron2.importer.settings import UnsupportedError


def test_a_model_agrees_with_what_was_recorded(
    case_name: str, cases: Path, refpack: ModuleType, runner: ModuleType, zoo: dict[str, Any]
) -> None:
    case = refpack.Case(case_name, cases)
    try:
        got = runner.run_case(case.spec, case.inputs, case.images(), case.state_dict(), zoo)
    except UnsupportedError as error:
        pytest.skip(f"not supported yet: {error}")
    assert refpack.compare(case.expected, got) == []


def test_a_difference_would_be_noticed(refpack: ModuleType) -> None:
    case = refpack.Case("faster_rcnn_R_50_FPN", Path(refpack.__file__).parent / "cases")
    got = {**case.expected, "losses/loss_cls": case.expected["losses/loss_cls"] * 1.01}
    del got["features/p2/sample"]
    wrong = sorted(failure.partition(":")[0] for failure in refpack.compare(case.expected, got))
    assert wrong == ["features/p2/sample", "losses/loss_cls"]
