"""What a run survives, and what it notices when it goes on."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import standins
import torch
from det_core.engine import EMA, read_checkpoint, read_scalars, train
from det_core.engine.checkpoint import load_state, read_about
from det_core.errors import CheckpointError
from det_safeload.locks import lock
from rich.console import Console

PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import standins
from listing import list_parts
list_parts("standins")
from det_core.engine import train
outcome = train(standins.recipe(**eval(sys.argv[3])), sys.argv[2], resume=True)
sys.exit(0 if outcome.finished else 128 + outcome.signal)
"""
SETTINGS = {"steps": 12, "evaluate_every": 4, "checkpoint_every": 3}


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def said(console):
    return console.file.getvalue()


def numbers(folder):
    timing = ("images_per_second", "data_wait", "memory")
    rows = read_scalars(Path(folder) / "scalars.jsonl")
    return [{key: value for key, value in row.items() if key not in timing} for row in rows]


def start(folder, **settings):
    command = [sys.executable, "-c", PROGRAM, str(Path(standins.__file__).parent), str(folder), repr(settings)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True)


def kill_until_finished(folder, delays, **settings):
    """Start the same command again and again, and kill it each time after a delay from its first step on."""
    for delay in delays:
        process = start(folder, **settings)
        scalars, limit = Path(folder) / "scalars.jsonl", time.monotonic() + 120
        before = scalars.stat().st_mtime_ns if scalars.exists() else 0
        while process.poll() is None and time.monotonic() < limit:
            if scalars.exists() and scalars.stat().st_mtime_ns != before:
                break
            time.sleep(0.002)
        time.sleep(delay)
        process.kill()
        process.communicate()
    process = start(folder, **settings)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def require_as_uninterrupted(folder, whole):
    assert numbers(folder) == numbers(whole)
    for name in ("last.safetensors", "best.safetensors"):
        torch.testing.assert_close(read_checkpoint(folder / name)[1], read_checkpoint(whole / name)[1], rtol=0, atol=0)
    assert not [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_three_kills_and_same_command_again_bit_for_bit(tmp_path, console):
    settings = {**SETTINGS, "ema": {"decay": 0.9}}
    train(standins.recipe(**settings), tmp_path / "whole", console=console)
    kill_until_finished(tmp_path / "killed", [0.0, 0.03, 0.05], **settings)
    require_as_uninterrupted(tmp_path / "killed", tmp_path / "whole")


class Killed(BaseException):
    pass


def killed_before(file, monkeypatch):
    """From now on the process ends when the `file`-th file of a run, from 1, is to take its place."""
    replace, count = Path.replace, iter(range(1, file + 1))

    def counted(path, target):
        if path.name.endswith(".tmp") and next(count) == file:
            raise Killed
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", counted)


def test_resume_killed_before_each_file_is_bitwise_equal(tmp_path, console, monkeypatch):
    settings = {"steps": 6, "evaluate_every": 2, "checkpoint_every": 3, "ema": {"decay": 0.9}}
    train(standins.recipe(**settings), tmp_path / "whole", console=console)
    states = set()
    for file in range(1, 100):
        folder = tmp_path / str(file)
        with monkeypatch.context() as patch:
            killed_before(file, patch)
            try:
                train(standins.recipe(**settings), folder, console=console)
                break
            except Killed:
                states.add(tuple(path.exists() for path in (folder / "last.state.pt", folder / "last.safetensors")))
        train(standins.recipe(**settings), folder, resume=True, console=console)
        require_as_uninterrupted(folder, tmp_path / "whole")
        assert read_about(folder / "last.safetensors") == read_about(tmp_path / "whole" / "last.safetensors")
    assert file > 12
    assert states == {(False, False), (True, False), (True, True)}


@pytest.mark.slow
def test_fifty_random_kills_bit_for_bit(tmp_path, console):
    settings = {"steps": 200, "evaluate_every": 9, "checkpoint_every": 2}
    train(standins.recipe(**settings), tmp_path / "whole", console=console)
    draw = random.Random(0)
    kill_until_finished(tmp_path / "killed", [draw.random() * 0.3 for _ in range(50)], **settings)
    require_as_uninterrupted(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_sigterm_saves_run_and_sets_exit_status(tmp_path):
    process = start(tmp_path / "run", steps=100_000, checkpoint_every=None)
    scalars = tmp_path / "run" / "scalars.jsonl"
    while process.poll() is None and not (scalars.exists() and scalars.read_text().count("\n") > 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert time.monotonic() - began < 30
    assert load_state(tmp_path / "run" / "last.state.pt")["step"] == len(scalars.read_text().splitlines())


def test_ema_weights_are_evaluated_and_raw_weights_trained(tmp_path, console):
    train(standins.recipe(**SETTINGS), tmp_path / "plain", console=console)
    train(standins.recipe(**SETTINGS, ema={"decay": 0.9}), tmp_path / "ema", console=console)
    plain, average = (load_state(tmp_path / name / "last.state.pt") for name in ("plain", "ema"))
    torch.testing.assert_close(average["model"], plain["model"], rtol=0, atol=0)
    saved = read_checkpoint(tmp_path / "ema" / "last.safetensors")[1]
    assert not torch.equal(saved["head.weight"], plain["model"]["head.weight"])
    assert torch.equal(saved["head.weight"], average["callbacks"][0][1]["average"]["head.weight"])
    values = [
        {row["step"]: row["val/loss"] for row in numbers(tmp_path / n) if "val/loss" in row} for n in ("plain", "ema")
    ]
    assert values[0].keys() == values[1].keys()
    assert values[0] != values[1]


def test_scaler_accumulation_and_callbacks_resume_bit_for_bit(tmp_path, console):
    freeze = {"type": "det_core.engine.callbacks:Freeze", "modules": ["body*"], "until": 6}
    settings = {
        "precision": "fp16",
        "batch_size": 4,
        "accumulate": 2,
        "evaluate_every": 2,
        "callbacks": [freeze],
        "ema": {"decay": 0.9},
        "clip_gradients": {"limit": 1.0},
        "schedule": {"type": "det_core.engine:WarmupMultiStep", "warmup": 3},
        "optimizer": {"type": "torch.optim:AdamW", "lr": 0.001},
    }
    for steps in (4, 8):
        train(standins.recipe(**settings, steps=steps), tmp_path / "parts", resume=True, console=console)
    train(standins.recipe(**settings, steps=8), tmp_path / "whole", console=console)
    states = [load_state(tmp_path / name / "last.state.pt") for name in ("parts", "whole")]
    for name in ("model", "optimizer", "random", "position"):
        torch.testing.assert_close(*(state[name] for state in states), rtol=0, atol=0)
    for (name, own), (other_name, other) in zip(*(state["callbacks"] for state in states), strict=True):
        assert name == other_name
        torch.testing.assert_close(own, other, rtol=0, atol=0)
    assert states[0]["scaler"] == states[1]["scaler"]
    assert states[0]["scaler"]["scale"] > 1


def test_ema_by_hand():
    class Run:
        model = torch.nn.Linear(1, 1, bias=False)

    ema = EMA(decay=0.5, warmup=0)
    torch.nn.init.constant_(Run.model.weight, 4.0)
    ema.on_start(Run)
    torch.nn.init.constant_(Run.model.weight, 8.0)
    ema.after_step(Run, {})
    assert ema.average["weight"].item() == 6.0
    with ema.evaluation_weights(Run):
        assert Run.model.weight.item() == 6.0
    assert Run.model.weight.item() == 8.0


def test_checkpoint_is_written_before_evaluation_error(tmp_path, console, monkeypatch):
    def result(self):
        if self.total > 2:  # not the check before the first step
            raise ZeroDivisionError("an evaluator's own fault")
        return {"box/recall": 0.0}

    monkeypatch.setattr(standins.Recall, "result", result)
    with pytest.raises(ZeroDivisionError):
        train(standins.recipe(evaluate_every=4, checkpoint_every=None), tmp_path, console=console)
    assert load_state(tmp_path / "last.state.pt")["step"] == 4


def test_resume_classes_swapped_refused(tmp_path, console):
    train(standins.recipe(steps=2), tmp_path, console=console)
    swapped = standins.recipe(steps=4)
    for split in ("train", "val", "test"):
        swapped.tree["data"][split]["classes"] = ["blue", "red"]
    with pytest.raises(CheckpointError, match=r"trained on other classes; 0: 'red' -> 'blue', 1: 'blue' -> 'red'"):
        train(swapped, tmp_path, resume=True, console=console)


def test_resume_with_changed_data_prints_note(tmp_path, console):
    train(standins.recipe(steps=2), tmp_path, console=console)
    other = standins.recipe(steps=4)
    other.tree["data"]["train"]["length"] = 9
    train(other, tmp_path, resume=True, console=console)
    assert "data.train holds 9 images, it held 6; the order of the images is a new one" in said(console)
    assert "going on after step 2 of 4" in said(console)


def test_two_trainings_in_one_folder_refused(tmp_path, console):
    with lock(tmp_path / ".lock"):
        with pytest.raises(CheckpointError, match=r"is in use by another training; process \d+ on "):
            train(standins.recipe(), tmp_path, console=console)
        process = start(tmp_path)
        _, errors = process.communicate(timeout=120)
        assert process.returncode != 0
        assert f"is in use by another training; process {os.getpid()} on" in errors
    train(standins.recipe(), tmp_path, console=console)
    assert not (tmp_path / ".lock").exists()


def test_state_with_a_flipped_bit_refused_wherever_it_is(tmp_path, console):
    train(standins.recipe(steps=1), tmp_path, console=console)
    path = tmp_path / "last.state.pt"
    whole, before = path.read_bytes(), load_state(path)
    draw, refused = random.Random(0), 0
    for _ in range(120):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            state = load_state(path)
        except CheckpointError:
            refused += 1
        else:
            torch.testing.assert_close(state["model"], before["model"], rtol=0, atol=0)
    assert refused > 60


def test_state_without_a_part_refused(tmp_path, console):
    train(standins.recipe(steps=1), tmp_path, console=console)
    state = load_state(tmp_path / "last.state.pt")
    del state["optimizer"]
    torch.save(state, tmp_path / "last.state.pt")
    with pytest.raises(CheckpointError, match="is not the whole state of a training run; without optimizer"):
        train(standins.recipe(steps=1), tmp_path, resume=True, console=console)


@pytest.mark.parametrize("line", ["[1, 2]", '{"loss": 1.0}', '{"step": "a"}', "nonsense", "[" * 100_000])
def test_scalars_damaged_refused(tmp_path, console, line):
    train(standins.recipe(steps=2), tmp_path, console=console)
    path = tmp_path / "scalars.jsonl"
    path.write_text(line + "\n" + path.read_text())
    with pytest.raises(CheckpointError, match=r"scalars\.jsonl, line 1: is not .*move the file away"):
        train(standins.recipe(steps=4), tmp_path, resume=True, console=console)


def test_scalars_not_text_refused(tmp_path, console):
    train(standins.recipe(steps=2), tmp_path, console=console)
    (tmp_path / "scalars.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match=r"scalars\.jsonl: is damaged"):
        train(standins.recipe(steps=4), tmp_path, resume=True, console=console)


def test_unfinished_files_of_a_killed_run_are_removed(tmp_path, console):
    train(standins.recipe(steps=2), tmp_path, console=console)
    for name in (".last.state.pt.4711.tmp", ".best.safetensors.12.tmp", ".mine.tmp"):
        (tmp_path / name).write_text("half")
    train(standins.recipe(steps=3), tmp_path, resume=True, console=console)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == [".mine.tmp"]


def test_averaged_loss_remembers_the_steps_before_a_resume(tmp_path, console):
    settings = {"steps": 6, "log_every": 6}
    train(standins.recipe(**settings), tmp_path / "whole", console=console)
    train(standins.recipe(**{**settings, "steps": 3, "log_every": 100}), tmp_path / "parts", console=console)
    # The last step of a run writes its row; one that was stopped there did not.
    state = load_state(tmp_path / "parts" / "last.state.pt")
    assert state["sums"] == {}
    kill = {**settings, "checkpoint_every": 3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standins.Tiny, "losses", _dies_at(4))
        with pytest.raises(SystemExit):
            train(standins.recipe(**kill), tmp_path / "killed", console=console)
    train(standins.recipe(**kill), tmp_path / "killed", resume=True, console=console)
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")


def _dies_at(step):
    original = standins.Tiny.losses

    def losses(self, *arguments):
        if self.training and self.calls == step:
            raise SystemExit
        return original(self, *arguments)

    return losses


def test_environment_and_console_of_each_start_are_kept(tmp_path, console):
    train(standins.recipe(steps=2), tmp_path, console=console)
    train(standins.recipe(steps=3), tmp_path, resume=True, console=console)
    starts = json.loads((tmp_path / "environment.json").read_text())
    assert [start["processes"] for start in starts] == [1, 1]
    assert starts[0]["packages"]["torch"] in torch.__version__
    log = (tmp_path / "console.log").read_text()
    assert "beginning at step 0" in log
    assert "going on after step 2 of 3" in log
