"""What a run does when its files cannot be written. A limit on the size of files stands for a full disk."""

import csv
import io
import json
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import standins
import torch
from det_core.engine import read_checkpoint, read_scalars, train
from det_core.engine.checkpoint import load_state, save_state
from det_core.engine.scalars import Scalars
from det_core.errors import CheckpointError, RecipeError, TrainingError
from det_safeload.locks import lock
from rich.console import Console

resource = pytest.importorskip("resource", reason="Windows has no limit on the size of files")


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=400)


def limit(size):
    """No file may grow beyond `size` bytes: the system writes what fits, and refuses the rest."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


@contextmanager
def limited(size):
    limit(size)
    try:
        yield
    finally:
        limit(None)


class FullDisk:
    """A callback: the disk is full from the end of one step to that of another."""

    def __init__(self, first, last=10**9, size=0):
        self.first, self.last, self.size = first, last, size

    def after_step(self, trainer, scalars):
        if trainer.step in (self.first, self.last):
            limit(self.size if trainer.step == self.first else None)


def train_with(callback, folder, console, recipe=None, **settings):
    """Train, and lift the limit at the end: pytest's own output may go to a file too."""
    try:
        return train(recipe or standins.recipe(**settings), folder, console=console, callbacks=[callback])
    finally:
        limit(None)


def steps(folder):
    return [row["step"] for row in read_scalars(folder / "scalars.jsonl")]


def test_scalars_full_disk_keeps_rows_until_there_is_space(tmp_path):
    scalars = Scalars(tmp_path)
    assert scalars.write(1, {"loss": 1.0}) == ""
    before = [path.read_bytes() for path in (scalars.jsonl, scalars.csv)]
    with limited(len(before[0]) + 7):
        problems = [scalars.write(2, {"loss": 2.0}), scalars.write(3, {"loss": 3.0})]
        torn = [path.read_bytes() for path in (scalars.jsonl, scalars.csv)]
    assert "scalars.jsonl cannot be written: " in problems[0]
    assert "rows are kept in memory" in problems[0]
    assert problems[1] == ""
    assert torn == before
    assert scalars.write(4, {"loss": 4.0}) == ""
    assert steps(tmp_path) == [1, 2, 3, 4]
    assert [row["loss"] for row in csv.DictReader(scalars.csv.open())] == ["1.0", "2.0", "3.0", "4.0"]


def test_scalars_csv_refused_is_complete_after_the_next_row(tmp_path):
    scalars = Scalars(tmp_path)
    for step in range(1, 40):
        scalars.write(step, {"loss": 1 / step, "another": float(step)})
    scalars.csv.unlink()
    scalars.csv.mkdir()
    assert scalars.write(40, {"loss": 0.0, "another": 0.0}) == ""
    scalars.csv.rmdir()
    scalars.write(41, {"loss": 0.0, "another": 0.0})
    assert steps(tmp_path) == list(range(1, 42))
    assert [int(row["step"]) for row in csv.DictReader(scalars.csv.open())] == list(range(1, 42))


def test_full_disk_between_checkpoints_does_not_end_the_run(tmp_path, console):
    settings = {"steps": 8, "checkpoint_every": 7}
    train_with(FullDisk(3, 6), tmp_path / "run", console, **settings)
    assert console.file.getvalue().count("cannot be written") == 1
    assert [step for step in steps(tmp_path / "run") if step < 8] == list(range(1, 8))
    assert load_state(tmp_path / "run" / "last.state.pt")["step"] == 8
    train(standins.recipe(**settings), tmp_path / "whole", console=console)
    weights = [read_checkpoint(tmp_path / name / "last.safetensors")[1] for name in ("run", "whole")]
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def test_full_disk_at_a_checkpoint_keeps_the_one_before(tmp_path, console):
    settings = {"steps": 9, "checkpoint_every": 3}
    with pytest.raises(
        CheckpointError, match=r"last\.state\.pt: cannot be written; .*File too large; free space.*unchanged"
    ):
        train_with(FullDisk(5, size=2000), tmp_path / "run", console, **settings)
    assert load_state(tmp_path / "run" / "last.state.pt")["step"] == 3
    assert read_checkpoint(tmp_path / "run" / "last.safetensors")[0].step == 3
    assert not [path.name for path in (tmp_path / "run").iterdir() if path.name.endswith(".tmp")]
    train(standins.recipe(**settings), tmp_path / "run", resume=True, console=console)
    train(standins.recipe(**settings), tmp_path / "whole", console=console)
    weights = [read_checkpoint(tmp_path / name / "last.safetensors")[1] for name in ("run", "whole")]
    torch.testing.assert_close(*weights, rtol=0, atol=0)
    assert steps(tmp_path / "run") == steps(tmp_path / "whole")


def test_state_torn_write_leaves_the_state_before(tmp_path):
    path = tmp_path / "last.state.pt"
    save_state(path, {"step": 1})
    with limited(50_000), pytest.raises(CheckpointError, match=r"cannot be written.*unchanged"):
        save_state(path, {"step": 2, "model": {"weight": torch.zeros(20_000)}})
    assert load_state(path)["step"] == 1
    assert [each.name for each in tmp_path.iterdir()] == ["last.state.pt"]


def test_exploding_loss_on_a_full_disk_is_still_reported(tmp_path, console):
    recipe = standins.recipe()
    recipe.tree["model"]["explode_after"] = 2
    with pytest.raises(
        TrainingError, match=r"step 3: loss or gradient is not finite.*bad_batch\.pt: cannot be written"
    ):
        train_with(FullDisk(2), tmp_path / "run", console, recipe)


def test_full_disk_at_the_start_is_refused(tmp_path, console):
    with limited(0), pytest.raises(RecipeError, match=r"recipe\.resolved\.yaml: cannot be written"):
        train(standins.recipe(), tmp_path / "run", console=console)
    assert not (tmp_path / "run").exists()
    with limited(0), lock(tmp_path / ".lock"):
        text = (tmp_path / ".lock").read_text()
    assert text == ""


class Removes:
    """A callback: removes the folder of the run after a step, as a file system that is gone."""

    def __init__(self, step):
        self.step = step

    def after_step(self, trainer, scalars):
        if trainer.step == self.step:
            shutil.rmtree(trainer.folder.path)


def test_folder_removed_during_a_run_ends_it(tmp_path, console):
    with pytest.raises(CheckpointError, match=r"last\.state\.pt: cannot be written"):
        train(standins.recipe(checkpoint_every=3), tmp_path / "run", console=console, callbacks=[Removes(1)])
    assert "the training goes on" in console.file.getvalue()


@pytest.mark.skipif(sys.platform != "linux", reason="/sys is read-only for everybody on Linux alone")
@pytest.mark.parametrize("folder", ["/sys/kernel", "/sys/kernel/run"])
def test_read_only_folder_refused(folder, console):
    with pytest.raises(CheckpointError, match=f"{folder}: cannot be used as the output folder; .*[Pp]erm"):
        train(standins.recipe(), folder, console=console)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_becomes_read_only_ends_the_run(tmp_path, console):
    class Locks:
        def after_step(self, trainer, scalars):
            trainer.folder.path.chmod(0o500)

    try:
        with pytest.raises(CheckpointError, match=r"last\.state\.pt: cannot be written"):
            train(standins.recipe(checkpoint_every=3), tmp_path / "run", console=console, callbacks=[Locks()])
    finally:
        (tmp_path / "run").chmod(0o700)
    assert json.loads((tmp_path / "run" / "environment.json").read_text())
    assert Path(tmp_path / "run" / "recipe.resolved.yaml").exists()
