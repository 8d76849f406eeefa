"""Trials before a training."""

import io
import os

import pytest
import standins
import torch
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.errors import ConfigError, DataError
from det_inspect.training import FirstImages, dry_run, find_learning_rate, overfit
from rich.console import Console


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def test_dry_run_estimates_without_leaving_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = dry_run(standins.recipe(steps=1000))
    assert set(found.losses) == {"loss", "loss_score", "loss_box", "gradient_norm"}
    assert {"box/recall", "box/AP"} <= set(found.metrics)
    assert found.hours == pytest.approx((1000 * found.seconds_per_step + 3 * found.seconds_per_image) / 3600)
    assert not list(tmp_path.iterdir())


def test_dry_run_finds_a_bad_validation_image():
    recipe = standins.recipe()
    recipe.tree["data"]["val"]["broken"] = [2]
    with pytest.raises(DataError, match=r"squares/2\.png"):
        dry_run(recipe)


def test_overfit_few_images_converges_without_leaving_files(tmp_path, monkeypatch, console):
    monkeypatch.chdir(tmp_path)
    recipe = standins.recipe()
    recipe.tree["train"]["optimizer"]["lr"] = 0.03
    outcome, value = overfit(recipe, 2, steps=400, console=console)
    assert value > 0.9
    assert outcome.step < 400
    assert not list(tmp_path.iterdir())


def test_first_images_of_a_dataset():
    few = FirstImages(standins.Squares(6), 2)
    assert len(few) == 2
    assert few.category_ids == (10, 20)
    assert torch.equal(few[1].image, standins.Squares(6)[1].image)
    assert len(FirstImages(standins.Squares(3), 8)) == 3


def test_find_learning_rate_suggestion_is_below_divergence():
    found = find_learning_rate(standins.recipe(), 1e-5, 100.0, 60)
    assert list(found.rates) == sorted(found.rates)
    assert 1e-5 < found.suggestion < found.rates[-1] < 100.0
    with pytest.raises(ConfigError, match="needs rising rates"):
        find_learning_rate(standins.recipe(), 1.0, 0.1)


def test_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = str(standins.recipe(batch_size=4).save(tmp_path / "squares.yaml"))
    result = CliRunner().invoke(det, ["train", recipe, "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "h in all" in result.stdout
    result = CliRunner().invoke(det, ["lr-find", recipe, "--steps", "8"])
    assert result.exit_code == 0, result.output
    assert len([line for line in result.stdout.splitlines() if "\t" in line]) >= 5
    assert os.listdir(tmp_path) == ["squares.yaml"]  # noqa: PTH208
