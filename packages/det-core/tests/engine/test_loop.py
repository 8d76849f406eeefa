import io
import os
import signal

import pytest
import standins
import torch
from det_core import recipes
from det_core.engine import loop, read_checkpoint, read_scalars, train
from det_core.engine.checkpoint import load_state
from det_core.errors import CheckpointError, ConfigError, DataError, TrainingError, WeightsError
from rich.console import Console


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def said(console):
    return console.file.getvalue()


def losses(folder):
    return {row["step"]: row["loss"] for row in read_scalars(folder / "scalars.jsonl") if "loss" in row}


def changed(tree_path, value, **settings):
    """The stand-in recipe with one node of it replaced, the node given by its dotted path."""
    recipe = standins.recipe(**settings)
    *parents, last = tree_path.split(".")
    node = recipe.tree
    for key in parents:
        node = node[key]
    node[last] = value
    return recipe


def stop_at(step, monkeypatch, number=signal.SIGINT):
    """Send this process a signal in the middle of a training step."""
    original = loop.Trainer.train_step

    def train_step(self, batch):
        if self.step == step - 1:
            os.kill(os.getpid(), number)
        return original(self, batch)

    monkeypatch.setattr(loop.Trainer, "train_step", train_step)


def test_run_leaves_its_recipe_its_numbers_and_two_checkpoints(tmp_path, console):
    outcome = train(standins.recipe(evaluate_every=3), tmp_path / "run", console=console)
    assert (outcome.step, outcome.finished) == (6, True)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "best.safetensors",
        "console.log",
        "environment.json",
        "last.safetensors",
        "last.state.pt",
        "recipe.resolved.yaml",
        "scalars.csv",
        "scalars.jsonl",
    ]


def test_scalars_hold_losses_rate_speed_and_evaluation(tmp_path, console):
    train(standins.recipe(evaluate_every=6), tmp_path, console=console)
    *training, evaluation = read_scalars(tmp_path / "scalars.jsonl")
    assert [row["step"] for row in training] == [1, 2, 3, 4, 5, 6]
    for row in training:
        assert row["loss"] == pytest.approx(row["loss_score"] + row["loss_box"], rel=1e-5)
        assert row["images_per_second"] > 0
        assert 0 <= row["data_wait"] <= 1
    assert training[0]["lr"] == pytest.approx(0.01 * 0.001)
    assert evaluation["step"] == 6
    assert evaluation["val/loss"] == pytest.approx(evaluation["val/loss_score"] + evaluation["val/loss_box"], rel=1e-5)
    assert 0 <= evaluation["val/box/recall"] <= 1
    assert evaluation["val/box/seen"] == 6


def test_loss_falls(tmp_path, console):
    train(standins.recipe(steps=60), tmp_path, console=console)
    by_step = losses(tmp_path)
    assert sum(by_step[step] for step in range(51, 61)) < 0.7 * sum(by_step[step] for step in range(1, 11))


def test_rows_average_the_steps_between_them(tmp_path, console):
    train(standins.recipe(), tmp_path / "each", console=console)
    train(standins.recipe(log_every=3), tmp_path / "third", console=console)
    each, third = losses(tmp_path / "each"), losses(tmp_path / "third")
    assert third == pytest.approx({3: sum(each[i] for i in (1, 2, 3)) / 3, 6: sum(each[i] for i in (4, 5, 6)) / 3})


def test_same_seed_gives_same_run_and_another_seed_another(tmp_path, console):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        train(standins.recipe(seed=seed), tmp_path / name, console=console)
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert losses(tmp_path / "a") != losses(tmp_path / "c")


def test_resolved_recipe_alone_starts_the_same_run_again(tmp_path, console):
    train(standins.recipe(), tmp_path / "a", console=console)
    train(recipes.load(tmp_path / "a" / "recipe.resolved.yaml"), tmp_path / "b", console=console)
    assert losses(tmp_path / "a") == losses(tmp_path / "b")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_resumed_run_equals_uninterrupted_run_bit_for_bit(tmp_path, console, monkeypatch, number):
    settings = {"steps": 9, "evaluate_every": 4, "checkpoint_every": None}
    train(standins.recipe(**settings), tmp_path / "whole", console=console)
    with monkeypatch.context() as patch:
        stop_at(4, patch, number)  # an evaluation is due at this very step
        outcome = train(standins.recipe(**settings), tmp_path / "parts", console=console)
    assert (outcome.step, outcome.finished) == (4, False)
    outcome = train(standins.recipe(**settings), tmp_path / "parts", resume=True, console=console)
    assert (outcome.step, outcome.finished) == (9, True)

    def numbers(folder):
        timing = ("images_per_second", "data_wait", "memory")
        rows = read_scalars(tmp_path / folder / "scalars.jsonl")
        return [{key: value for key, value in row.items() if key not in timing} for row in rows]

    assert numbers("parts") == numbers("whole")
    for name in ("last.safetensors", "best.safetensors"):
        (whole_about, whole), (parts_about, parts) = (read_checkpoint(tmp_path / f / name) for f in ("whole", "parts"))
        torch.testing.assert_close(parts, whole, rtol=0, atol=0)
        assert (parts_about.step, parts_about.metrics) == (whole_about.step, whole_about.metrics)


def test_after_stop_signal_handlers_are_old_ones(tmp_path, console):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train(standins.recipe(steps=1), tmp_path, console=console)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_second_interrupt_stops_at_once(tmp_path, console, monkeypatch):
    def train_step(self, batch):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop.Trainer, "train_step", train_step)
    with pytest.raises(KeyboardInterrupt):
        train(standins.recipe(), tmp_path, console=console)


def test_killed_run_resumes_from_last_checkpoint(tmp_path, console, monkeypatch):
    settings = {"steps": 7, "checkpoint_every": 2}
    train(standins.recipe(**settings), tmp_path / "whole", console=console)
    original = loop.Trainer.train_step

    def die(self, batch):
        if self.step == 5:
            raise SystemExit
        return original(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "train_step", die)
        with pytest.raises(SystemExit):
            train(standins.recipe(**settings), tmp_path / "parts", console=console)
    assert load_state(tmp_path / "parts" / "last.state.pt")["step"] == 4
    train(standins.recipe(**settings), tmp_path / "parts", resume=True, console=console)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_resume_finished_run_does_no_steps(tmp_path, console):
    train(standins.recipe(), tmp_path, console=console)
    before = (tmp_path / "last.safetensors").read_bytes()
    outcome = train(standins.recipe(), tmp_path, resume=True, console=console)
    assert (outcome.step, outcome.finished) == (6, True)
    assert (tmp_path / "last.safetensors").read_bytes() == before


def test_resume_finished_run_with_more_steps_continues_with_note(tmp_path, console):
    train(standins.recipe(steps=4), tmp_path, console=console)
    outcome = train(standins.recipe(steps=6), tmp_path, resume=True, console=console)
    assert outcome.step == 6
    assert list(losses(tmp_path)) == [1, 2, 3, 4, 5, 6]
    assert "changed since this run began: train.steps: 4 -> 6" in said(console)


def test_resume_with_fewer_steps_than_done_is_refused(tmp_path, console):
    train(standins.recipe(steps=4), tmp_path, console=console)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match=r"is of step 4, beyond the 3 of this run; set train\.steps to 4 or more"):
        train(standins.recipe(steps=3), tmp_path, resume=True, console=console)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_changed_learning_rate_counts_from_where_run_goes_on(tmp_path, console):
    train(standins.recipe(steps=4), tmp_path, console=console)
    lower = changed("train.optimizer.lr", 0.001, steps=6)
    train(lower, tmp_path, resume=True, console=console)
    rates = {row["step"]: row["lr"] for row in read_scalars(tmp_path / "scalars.jsonl") if "lr" in row}
    assert rates[4] > 0.001 > rates[5]


def test_run_is_not_overwritten_unless_asked(tmp_path, console):
    train(standins.recipe(steps=2), tmp_path, console=console)
    before = (tmp_path / "last.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=r"holds a run already.*--resume.*--overwrite.*--output"):
        train(standins.recipe(steps=3), tmp_path, console=console)
    assert (tmp_path / "last.safetensors").read_bytes() == before
    (tmp_path / "notes.txt").write_text("mine")
    assert train(standins.recipe(steps=3), tmp_path, overwrite=True, console=console).step == 3
    assert list(losses(tmp_path)) == [1, 2, 3]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_overwrite_by_failing_run_keeps_old_files(tmp_path, console):
    train(standins.recipe(steps=2), tmp_path, console=console)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    broken = standins.recipe()
    broken.tree["weights"] = {"source": str(tmp_path / "missing.safetensors")}
    with pytest.raises(WeightsError, match="there is no such file"):
        train(broken, tmp_path, overwrite=True, console=console)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_resume_without_checkpoint_starts_from_beginning(tmp_path, console):
    train(standins.recipe(), tmp_path / "plain", console=console)
    (tmp_path / "killed").mkdir()
    standins.recipe().save(tmp_path / "killed" / "recipe.resolved.yaml")
    (tmp_path / "killed" / "scalars.jsonl").write_text('{"step": 1, "loss": 7.0}\n')
    train(standins.recipe(), tmp_path / "killed", resume=True, console=console)
    assert losses(tmp_path / "killed") == losses(tmp_path / "plain")
    assert "beginning at step 0" in said(console)


def test_resume_weights_without_a_state_are_not_overwritten(tmp_path, console):
    train(standins.recipe(), tmp_path, console=console)
    (tmp_path / "last.state.pt").unlink()
    with pytest.raises(CheckpointError, match=r"holds weights, but no state to resume from; found best\.safetensors"):
        train(standins.recipe(), tmp_path, resume=True, console=console)


def test_batch_size_accumulated_batches_do_not_divide_refused(tmp_path, console):
    with pytest.raises(ConfigError, match=r"batch_size: must divide .* got 2 for 1 processes and train.accumulate 3"):
        train(standins.recipe(accumulate=3), tmp_path / "run", console=console)
    assert not (tmp_path / "run").exists()


def test_output_that_is_a_file_is_refused(tmp_path, console):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(CheckpointError, match="cannot be used as the output folder"):
        train(standins.recipe(), tmp_path / "run", console=console)


def test_run_of_another_model_is_not_resumed(tmp_path, console):
    train(standins.recipe(steps=2), tmp_path, console=console)
    other = changed("model", {"type": "standins:Tiny", "explode_after": 100})
    with pytest.raises(CheckpointError, match=r"of another recipe; model\.explode_after was None and is 100"):
        train(other, tmp_path, resume=True, console=console)


def test_wrong_num_classes_is_refused_with_override_as_fix(tmp_path, console):
    wrong = changed("model", {"type": "standins:Tiny", "num_classes": 80})
    with pytest.raises(ConfigError) as caught:
        train(wrong, tmp_path / "run", console=console)
    assert caught.value.where == "model.num_classes"
    assert "the model has 80, the dataset has 2 (red, blue)" in str(caught.value)
    assert caught.value.fix == "add --set model.num_classes=2"
    assert not (tmp_path / "run").exists()


def test_non_finite_loss_stops_run_and_keeps_good_checkpoint(tmp_path, console):
    broken = changed("model", {"type": "standins:Tiny", "explode_after": 4}, checkpoint_every=3)
    with pytest.raises(TrainingError) as caught:
        train(broken, tmp_path, console=console)
    assert caught.value.where == "step 5"
    message = str(caught.value)
    assert "loss_box nan" in message
    assert message.count("squares/") == 2
    assert "from step 3 is unchanged" in message
    assert "train.optimizer.lr" in message
    _, state = read_checkpoint(tmp_path / "last.safetensors")
    assert all(value.isfinite().all() for value in state.values())
    assert load_state(tmp_path / "last.state.pt")["step"] == 3


@pytest.mark.parametrize("bad", range(6))
def test_bad_image_stops_run_that_resumes_after_repair(tmp_path, console, bad):
    settings = {"steps": 6, "checkpoint_every": None}
    train(standins.recipe(**settings), tmp_path / "whole", console=console)
    broken = changed("data.train", {"type": "standins:Squares", "broken": [bad]}, **settings)
    with pytest.raises(DataError, match=rf"squares/{bad}\.png: the image is damaged"):
        train(broken, tmp_path / "parts", console=console)
    train(standins.recipe(**settings), tmp_path / "parts", resume=True, console=console)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_bad_image_with_skip_is_reported_and_skipped(tmp_path, console):
    broken = changed("data.train", {"type": "standins:Squares", "broken": [2]})
    broken.tree["data"]["on_bad_image"] = "skip"
    assert train(broken, tmp_path, console=console).finished
    assert "squares/2.png" in said(console)


def test_bad_validation_image_loses_no_training(tmp_path, console):
    settings = {"evaluate_every": 3, "checkpoint_every": None}
    broken = changed("data.val", {"type": "standins:Squares", "broken": [2], "length": 3}, **settings)
    with pytest.raises(DataError, match=r"squares/2\.png"):
        train(broken, tmp_path, console=console)
    assert load_state(tmp_path / "last.state.pt")["step"] == 3


def test_best_checkpoint_is_that_of_the_best_evaluation(tmp_path, console):
    outcome = train(standins.recipe(steps=12, evaluate_every=2), tmp_path, console=console)
    rows = [row for row in read_scalars(tmp_path / "scalars.jsonl") if "val/box/recall" in row]
    best = max(rows, key=lambda row: row["val/box/recall"])
    about, _ = read_checkpoint(tmp_path / "best.safetensors")
    assert about.step == outcome.best.step == best["step"]
    assert about.metrics["box/recall"] == outcome.best.value == best["val/box/recall"]


def test_lowest_validation_loss_can_choose(tmp_path, console):
    outcome = train(standins.recipe(steps=12, evaluate_every=2, best_metric="loss"), tmp_path, console=console)
    values = {row["step"]: row["val/loss"] for row in read_scalars(tmp_path / "scalars.jsonl") if "val/loss" in row}
    assert (outcome.best.step, outcome.best.value) == min(values.items(), key=lambda item: item[1])


def test_best_metric_unknown_refused_before_the_first_step(tmp_path, console):
    with pytest.raises(
        ConfigError, match=r"train\.best_metric: there is no 'box/AR'; found box/AP, box/recall, box/seen"
    ):
        train(standins.recipe(best_metric="box/AR"), tmp_path / "run", console=console)
    assert not (tmp_path / "run").exists()


def test_best_metric_missing_from_an_evaluation_loses_no_training(tmp_path, console):
    with pytest.raises(
        ConfigError, match=r"train\.best_metric: there is no 'box/AP'; found box/recall, box/seen, loss"
    ):
        train(standins.recipe(best_metric="box/AP"), tmp_path, console=console)
    assert load_state(tmp_path / "last.state.pt")["step"] == 6
    assert train(standins.recipe(), tmp_path, resume=True, console=console).best.step == 6


def test_without_validation_set_only_last_checkpoint_is_written(tmp_path, console):
    outcome = train(changed("data.val", None), tmp_path, console=console)
    assert (outcome.finished, outcome.best) == (True, None)
    assert not (tmp_path / "best.safetensors").exists()
    assert (tmp_path / "last.safetensors").exists()


def test_checkpoint_contains_recipe_classes_and_versions(tmp_path, console):
    train(standins.recipe(), tmp_path, console=console)
    about, state = read_checkpoint(tmp_path / "best.safetensors")
    assert list(about.classes) == ["red", "blue"]
    assert list(about.category_ids) == [10, 20]
    assert about.recipe == (tmp_path / "recipe.resolved.yaml").read_text()
    assert about.versions["det-core"]
    assert about.metrics["box/seen"] == 6
    assert "head.weight" in state


def test_bf16_trains_and_keeps_float32_weights(tmp_path, console):
    train(standins.recipe(precision="bf16"), tmp_path, console=console)
    _, state = read_checkpoint(tmp_path / "last.safetensors")
    assert state["head.weight"].dtype == torch.float32


def test_channels_last_changes_memory_format_but_not_results(tmp_path, console):
    train(standins.recipe(), tmp_path / "rows", console=console)
    train(standins.recipe(channels_last=True), tmp_path / "pixels", console=console)
    assert losses(tmp_path / "pixels") == pytest.approx(losses(tmp_path / "rows"), rel=1e-3)
    _, state = read_checkpoint(tmp_path / "pixels" / "last.safetensors")
    assert state["head.weight"].is_contiguous()


def test_gradient_clipping_changes_run_but_not_logged_norm(tmp_path, console):
    train(standins.recipe(), tmp_path / "free", console=console)
    train(standins.recipe(clip_gradients={"limit": 0.1}), tmp_path / "clipped", console=console)
    free, clipped = (read_scalars(tmp_path / name / "scalars.jsonl") for name in ("free", "clipped"))
    assert free[0]["gradient_norm"] == clipped[0]["gradient_norm"] > 0.1
    assert losses(tmp_path / "free") != losses(tmp_path / "clipped")


def test_worker_processes_do_not_change_the_run(tmp_path, console):
    train(standins.recipe(), tmp_path / "alone", console=console)
    train(changed("data.workers", 1), tmp_path / "helped", console=console)
    assert losses(tmp_path / "alone") == losses(tmp_path / "helped")


def test_device_that_is_not_there_is_refused(tmp_path, console):
    with pytest.raises(ConfigError, match="device: 'no such thing' cannot be used here"):
        train(standins.recipe(device="no such thing"), tmp_path, console=console)
