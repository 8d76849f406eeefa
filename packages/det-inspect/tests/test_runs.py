"""`det runs`: reading, listing and comparing what trainings leave."""

import io
import json
import math
import shutil
import sys
from pathlib import Path

import pytest
import standins
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.engine import train
from det_core.errors import CheckpointError, MissingExtraError
from det_inspect.runs.comparison import differing_settings, labels, metrics_table
from det_inspect.runs.picture import plot_comparison
from det_inspect.runs.reading import find_runs, read_run
from PIL import Image
from rich.console import Console

OLD = Path(__file__).parents[3] / "tests" / "data" / "run-0.1"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two finished runs with other learning rates, and a copy of one that stopped early."""
    folder = tmp_path_factory.mktemp("runs")
    console = Console(file=io.StringIO(), width=200)
    train(standins.recipe(steps=4, evaluate_every=2), folder / "slow", console=console)
    fast = standins.recipe(steps=4, evaluate_every=2)
    fast.tree["train"]["optimizer"]["lr"] = 0.03
    train(fast, folder / "deep" / "fast", console=console)
    return folder


@pytest.fixture
def copied(runs, tmp_path):
    return Path(shutil.copytree(runs / "slow", tmp_path / "copied"))


def det_runs(*words):
    return CliRunner().invoke(det, ["runs", *map(str, words)])


def test_read_run_finished(runs):
    run = read_run(runs / "slow")
    assert (run.step, run.steps, run.progress) == (4, 4, "finished, 4 steps")
    assert run.headline[0] == "box/recall"
    assert run.metrics_step in (2, 4)
    assert run.notes == []
    assert len(run.starts) == 1


def test_find_runs_does_not_descend_into_runs(runs):
    (runs / "slow" / "predictions").mkdir(exist_ok=True)
    assert list(find_runs(runs)) == [runs / "deep" / "fast", runs / "slow"]
    assert list(find_runs(runs / "slow")) == [runs / "slow"]


def test_list_show_and_compare_print_figures(runs, tmp_path):
    listed = det_runs("list", runs)
    assert listed.exit_code == 0, listed.output
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:3]] in (
        ["slow", "deep/fast"],
        ["deep/fast", "slow"],
    )
    shown = det_runs("show", runs / "slow", "--plot", tmp_path / "one.png")
    assert shown.exit_code == 0, shown.output
    assert "finished, 4 steps" in shown.stdout
    assert "last.state.pt (" in shown.stdout
    compared = det_runs("compare", runs / "slow", runs / "deep" / "fast", "--plot", tmp_path / "two.png")
    assert compared.exit_code == 0, compared.output
    assert "train.optimizer.lr" in compared.stdout
    for name in ("one.png", "two.png"):
        assert Image.open(tmp_path / name).size == (1560, 528)


def test_compare_settings_only_those_that_differ(runs):
    slow, fast = read_run(runs / "slow"), read_run(runs / "deep" / "fast")
    assert differing_settings([slow, fast]) == ([("train.optimizer.lr", ["0.01", "0.03"])], [])
    assert differing_settings([slow, slow]) == ([], [])
    assert labels([slow, fast]) == ["slow", "fast"]
    assert dict(metrics_table([slow, fast]))["training loss, last"] == [slow.rows[-2]["loss"], fast.rows[-2]["loss"]]


def test_compare_arguments_that_a_run_does_not_have(copied, runs):
    text = (copied / "recipe.resolved.yaml").read_text().replace("    nesterov: false\n", "")
    (copied / "recipe.resolved.yaml").write_text(text)
    settings, _ = differing_settings([read_run(runs / "slow"), read_run(copied)])
    assert settings == [("train.optimizer.nesterov", ["false", "-"])]


def test_compare_recipe_of_unknown_parts_as_it_was_written(copied, runs):
    text = (copied / "recipe.resolved.yaml").read_text().replace("standins:Tiny", "my_lab.nets:Gone")
    text = text.replace("det-core: ", "det-core: 0.1.0  # ")
    (copied / "recipe.resolved.yaml").write_text(text)
    settings, notes = differing_settings([read_run(runs / "slow"), read_run(copied)])
    assert ("model.type", ["standins:Tiny", "my_lab.nets:Gone"]) in settings
    assert notes[0].startswith("settings of different versions are compared as they were written")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [("", "", "holds no run"), ("absent", None, "there is no such folder"), ("file.txt", "no run", "is a file")],
)
def test_show_path_that_is_no_run_is_refused(tmp_path, name, text, problem):
    if text:
        (tmp_path / name).write_text(text)
    result = det_runs("show", tmp_path / name)
    assert result.exit_code != 0
    with pytest.raises(CheckpointError, match=problem):
        read_run(tmp_path / name)


def test_show_a_folder_of_runs_names_one(runs):
    with pytest.raises(CheckpointError, match=r"name one of the runs in it, such as .*fast"):
        read_run(runs)


def test_list_of_no_runs(tmp_path):
    result = det_runs("list", tmp_path)
    assert result.exit_code == 0
    assert "no runs" in result.stdout


@pytest.mark.parametrize(
    "left", [["recipe.resolved.yaml"], ["scalars.jsonl"], ["last.state.pt"], ["recipe.resolved.yaml", "scalars.jsonl"]]
)
def test_half_written_run_is_listed_shown_and_compared(copied, runs, left, tmp_path):
    for file in copied.iterdir():
        if file.is_file() and file.name not in left:
            file.unlink()
    assert f"no {'environment.json'}" in read_run(copied).notes
    for words in (
        ["list", copied.parent],
        ["show", copied],
        ["compare", copied, runs / "slow", "--plot", tmp_path / "a.png"],
    ):
        result = det_runs(*words)
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", ["recipe.resolved.yaml", "scalars.jsonl", "environment.json", "best.safetensors"])
def test_damaged_file_is_a_note(copied, runs, name, tmp_path):
    (copied / name).write_bytes(b"\x00\xff: [}\n{\n")
    run = read_run(copied)
    assert any(name in note for note in run.notes), run.notes
    result = det_runs("compare", copied, runs / "slow", "--plot", tmp_path / "a.png")
    assert result.exit_code == 0, result.output


def test_scalars_not_finite_are_shown_and_drawn_as_gaps(copied, tmp_path):
    with (copied / "scalars.jsonl").open("a") as file:
        file.write(json.dumps({"step": 5, "loss": math.nan, "lr": math.inf}) + "\n")
        file.write(json.dumps({"step": 6, "loss": 1e9, "val/box/recall": math.nan}) + "\n")
    run = read_run(copied)
    assert "not finite at some steps: loss, lr, val/box/recall" in run.notes
    assert det_runs("show", copied).exit_code == 0
    assert plot_comparison([run, run], tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.skipif(not OLD.exists(), reason="needs the run of 0.1 in tests/data of the repository")
def test_show_and_compare_read_run_of_0_1(tmp_path):
    shown = det_runs("show", OLD)
    assert shown.exit_code == 0, shown.output
    assert "no environment.json" in shown.stdout
    run = read_run(OLD)
    assert run.progress == "finished, 2 steps"
    changed = Path(shutil.copytree(OLD, tmp_path / "changed"))
    text = (changed / "recipe.resolved.yaml").read_text()
    text = (
        text.replace("det-core: ", "det-core: 0.2.0  # ")
        .replace("det_core.models.rpn:RPNHead", "det_core.models.heads.rpn:RPNHead")
        .replace("\n  seed: 0", "\n  seed: 1")
    )
    (changed / "recipe.resolved.yaml").write_text(text)
    settings, notes = differing_settings([run, read_run(changed)])
    assert notes == []
    assert [(path, values) for path, values in settings if "versions" not in path] == [("train.seed", ["0", "1"])]


def test_compare_plot_without_matplotlib_names_it(runs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"--plot: needs matplotlib.*pip install matplotlib"):
        plot_comparison([read_run(runs / "slow")], tmp_path / "a.png")


def test_compare_one_run_and_unwritable_picture_refused(runs, tmp_path):
    assert det_runs("compare", runs / "slow").exit_code == 2
    with pytest.raises(CheckpointError, match="cannot be written"):
        plot_comparison([read_run(runs / "slow")], tmp_path / "absent" / "a.png")
