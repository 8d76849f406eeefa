"""The linear rule of `det train --scale-lr`."""

import pytest
import standins
from click.testing import CliRunner
from det_core.cli.main import det
from det_inspect.training.linear_rule import scale_learning_rate


def test_scale_learning_rate_by_the_linear_rule():
    recipe = standins.recipe(batch_size=16, steps=90, evaluate_every=30)
    scaled, changes = scale_learning_rate(recipe, 2, fixed=["train.steps"])
    section = scaled.tree["train"]
    assert section["optimizer"]["lr"] == pytest.approx(0.01 / 8)
    assert (section["batch_size"], section["schedule"]["warmup"], section["evaluate_every"]) == (2, 16, 240)
    assert section["steps"] == 90
    assert "train.batch_size: 16 -> 2" in changes
    assert "train.schedule.warmup: 2 -> 16" in changes


def test_train_scales_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = str(standins.recipe(batch_size=4).save(tmp_path / "squares.yaml"))
    result = CliRunner().invoke(det, ["train", recipe, "--set", "train.batch_size=2", "--scale-lr", "--output", "run"])
    assert result.exit_code == 0, result.output
    assert "scaled by the linear rule: train.optimizer.lr: 0.01 -> 0.005" in result.stderr
    assert "Last step 12" in result.stdout
