"""Callbacks of a training: early stopping, best checkpoints, pictures, a profile, logging backends."""

import io
import json
import sys

import pytest
import standins
from det_core import recipes
from det_core.engine import read_checkpoint, read_scalars, train
from det_core.engine.checkpoint import load_state
from det_core.errors import ConfigError, MissingExtraError
from det_inspect.training import BestCheckpoint, EarlyStopping
from rich.console import Console

PART = "det_inspect.training:"


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def losses(folder):
    return {row["step"]: row["loss"] for row in read_scalars(folder / "scalars.jsonl") if "loss" in row}


def test_sample_predictions_and_profile_leave_files(tmp_path, console):
    parts = [{"type": PART + "SamplePredictions", "images": 2, "score_threshold": 0.0}]
    parts.append({"type": PART + "Profile", "start": 1, "steps": 1})
    train(standins.recipe(steps=4, evaluate_every=2, callbacks=parts), tmp_path, console=console)
    assert sorted(p.name for p in (tmp_path / "predictions").iterdir()) == ["0000002.jpg", "0000004.jpg"]
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    train(standins.recipe(steps=4, evaluate_every=2), tmp_path / "plain", console=console)
    assert losses(tmp_path) == losses(tmp_path / "plain")


@pytest.mark.parametrize(
    ("part", "module", "package"),
    [
        ("TensorBoard", "torch.utils.tensorboard", "tensorboard"),
        ("MLflow", "mlflow", "mlflow"),
        ("WandB", "wandb", "wandb"),
    ],
)
def test_logger_not_installed_names_the_package(tmp_path, console, monkeypatch, part, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    recipe = standins.recipe(steps=2, callbacks=[{"type": PART + part}])
    with pytest.raises(
        (ConfigError, MissingExtraError), match=rf"needs {package}, which is .* 'det-inspect\[{package}\]'"
    ):
        train(recipe, tmp_path / "run", console=console)
    assert not (tmp_path / "run").exists()


LOGGED = {"steps": 4, "evaluate_every": 2, "checkpoint_every": 2}


def train_in_two_parts(part, folder, console):
    """Two steps, then the same run resumed up to four."""
    recipes = (standins.recipe(**{**LOGGED, "steps": steps}, callbacks=[{"type": PART + part}]) for steps in (2, 4))
    train(next(recipes), folder, console=console)
    train(next(recipes), folder, console=console, resume=True)


@pytest.mark.slow
def test_tensorboard_holds_the_scalars_of_a_resumed_run(tmp_path, console):
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train_in_two_parts("TensorBoard", tmp_path, console)
    events = module.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = {event.step: event.value for event in events.Scalars("train/loss")}
    assert found == pytest.approx(losses(tmp_path))
    assert [event.step for event in events.Scalars("val/box/recall")] == [2, 4]


@pytest.mark.slow
def test_mlflow_holds_the_scalars_of_a_resumed_run(tmp_path, console, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    train_in_two_parts("MLflow", tmp_path / "run", console)
    client = mlflow.MlflowClient((tmp_path / "run" / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("det")
    [run] = client.search_runs([experiment.experiment_id])
    found = {each.step: each.value for each in client.get_metric_history(run.info.run_id, "loss")}
    assert found == pytest.approx(losses(tmp_path / "run"))
    assert run.info.status == "FINISHED"
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["recipe.resolved.yaml"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.slow
def test_mlflow_uses_the_tracking_uri_of_the_environment(tmp_path, console, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "shared").as_uri())
    recipe = standins.recipe(steps=1, callbacks=[{"type": PART + "MLflow", "experiment": "squares"}])
    train(recipe, tmp_path / "run", console=console)
    assert (tmp_path / "shared").is_dir()
    assert not (tmp_path / "run" / "mlruns").exists()


@pytest.mark.slow
def test_wandb_offline_holds_the_scalars(tmp_path, console, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    train_in_two_parts("WandB", tmp_path, console)
    files = sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 2
    content = [path.read_bytes() for path in files]
    assert all(b"images_per_second" in each and b"box/recall" in each for each in content)
    # One run, whose id the state of the training keeps.
    assert len({path.stem for path in files}) == 1


def test_recipe_of_0_1_finds_moved_callback(tmp_path, console):
    part = {"type": "det_core.engine.callbacks:Profile", "start": 0, "steps": 1}
    train(standins.recipe(steps=2, callbacks=[part]), tmp_path, console=console)
    assert (tmp_path / "trace.json").exists()


def test_early_stopping_counts_evaluations_without_improvement():
    class Run:
        reasons = []

        def request_stop(self, reason):
            self.reasons.append(reason)

    run, part = Run(), EarlyStopping("bbox/AP", patience=2, min_delta=0.01)
    for value in (0.1, 0.2, 0.205):
        part.after_evaluation(run, {"bbox/AP": value})
    assert not run.reasons
    again = EarlyStopping("bbox/AP", patience=2, min_delta=0.01)
    again.load_state_dict(part.state_dict())
    again.after_evaluation(run, {"bbox/AP": 0.2})
    assert run.reasons == ["early stopping: bbox/AP has not passed 0.2000 in 2 evaluations"]
    with pytest.raises(ConfigError, match="there is no metric 'bbox/AP'; found loss"):
        part.after_evaluation(run, {"loss": 1.0})


def test_early_stopping_ends_a_run_that_is_finished(tmp_path, console):
    part = {"type": PART + "EarlyStopping", "metric": "loss", "patience": 1, "min_delta": 1000.0}
    outcome = train(standins.recipe(steps=50, evaluate_every=3, callbacks=[part]), tmp_path, console=console)
    assert (outcome.step, outcome.finished) == (6, True)
    assert load_state(tmp_path / "last.state.pt")["step"] == 6


@pytest.mark.parametrize(
    "module", ["det_core.engine.callbacks", "det_core.engine.callbacks.selection", "det_inspect.training.selection"]
)
def test_early_stopping_earlier_import_paths_are_trusted_and_built(module):
    part = {"type": f"{module}:EarlyStopping", "metric": "bbox/AP", "patience": 3}
    recipe = recipes.recipe_from_tree({"model": {}, "train": {"callbacks": [part]}}, trusted=False)
    [built] = recipe.build_part("train.callbacks", list)
    assert (type(built), built.patience) == (EarlyStopping, 3)


def test_best_checkpoint_by_another_metric(tmp_path, console):
    part = {"type": PART + "BestCheckpoint", "metric": "loss"}
    train(standins.recipe(steps=8, evaluate_every=2, callbacks=[part]), tmp_path, console=console)
    rows = {row["step"]: row["val/loss"] for row in read_scalars(tmp_path / "scalars.jsonl") if "val/loss" in row}
    assert read_checkpoint(tmp_path / "best-loss.safetensors")[0].step == min(rows, key=rows.get)
    assert BestCheckpoint("loss")._best.improves({"loss": 1.0}) is not False
