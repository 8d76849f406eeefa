"""`det zoo verify` compares what a published model does with what is reported of it."""

import os

import pytest
from click.testing import CliRunner
from det_core.cli.main import det
from det_inspect.cli.zoo_verify import _evaluated


def run(*arguments):
    return CliRunner().invoke(det, ["zoo", "verify", *map(str, arguments)])


@pytest.fixture
def truth(tiny, monkeypatch):
    """The average precision of the trained model on the tiny dataset, in percent."""
    with monkeypatch.context() as patch:
        patch.setenv("DET_DATA", str(tiny.data))
        metrics, _ = _evaluated("squares_r1_1x", str(tiny.file), 2, "cpu")
    assert 0.05 < metrics["bbox/AP"] < metrics["bbox/AP50"] < 1
    return {name: 100 * value for name, value in metrics.items()}


def test_zoo_verify_published_metric_passes(tiny, truth, monkeypatch):
    monkeypatch.setenv("DET_DATA", "elsewhere")
    tiny.publish(reported={"lr sched": "1x", "box AP": round(truth["bbox/AP"], 1)})
    result = run("Tiny/squares_R_1_1x", "--data", tiny.data, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "Tiny/squares_R_1_1x: as published" in result.stdout
    assert f"{truth['bbox/AP']:.2f}" in result.stdout
    assert "lr sched" not in result.stdout
    assert tiny.server.asked == [f"/{tiny.file.name}"]
    assert os.environ["DET_DATA"] == "elsewhere"


@pytest.mark.parametrize("offset", [-0.11, 0.11, 3])
def test_zoo_verify_difference_above_tenth_fails(tiny, truth, offset):
    tiny.publish(reported={"box AP": truth["bbox/AP"] - offset, "box AP50": truth["bbox/AP50"]})
    result = run("squares_r1_1x", "--data", tiny.data, "--weights", tiny.file, "--device", "cpu")
    assert result.exit_code == 1
    assert f"{offset:+.2f}" in result.stdout
    assert "not as published" in result.stderr
    assert tiny.server.asked == []


def test_zoo_verify_difference_of_tenth_passes(tiny, truth):
    tiny.publish(reported={"box AP": truth["bbox/AP"] - 0.1, "box AP50": truth["bbox/AP50"] + 0.1})
    assert run("squares_r1_1x", "--data", tiny.data, "--device", "cpu").exit_code == 0


def test_zoo_verify_metric_not_evaluated_fails(tiny, truth):
    tiny.publish(reported={"box AP": truth["bbox/AP"], "mask AP": 30.0})
    result = run("squares_r1_1x", "--data", tiny.data, "--device", "cpu")
    assert result.exit_code == 1
    assert "not evaluated" in result.stdout


def test_verify_model_without_figures_weights_or_recipe_is_reported(tiny, without):
    without("det-tridentnet")
    tiny.publish(reported={"lr sched": "1x"})
    result = run("squares_r1_1x", "--data", tiny.data)
    assert result.exit_code == 2
    assert "has no published figure to compare with" in result.stderr
    tiny.publish(reported={"box AP": 1.0}, weights=None)
    assert "has no published weights" in run("squares_r1_1x", "--data", tiny.data).stderr
    result = run("TridentNet/tridentnet_fast_R_50_C4_1x", "--data", tiny.data)
    assert "its recipe is not installed; det-tridentnet would provide it: pip install det-tridentnet" in result.stderr


def test_verify_missing_data_is_reported_before_download(tiny, tmp_path):
    tiny.publish(reported={"box AP": 1.0})
    (tmp_path / "empty").mkdir()
    result = run("squares_r1_1x", "--data", tmp_path / "empty")
    assert result.exit_code == 2
    assert "tiny" in result.stderr
    assert tiny.server.asked == []
    assert run("squares_r1_1x", "--data", tmp_path / "nowhere").exit_code == 2
