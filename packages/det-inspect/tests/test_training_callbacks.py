"""What accompanies a training: pictures, a profile, logging backends."""

import importlib
import importlib.util
import io
import json

import pytest
import standins
from det_core.engine import read_scalars, train
from det_core.errors import ConfigError, MissingExtraError
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
    ("part", "module"),
    [("TensorBoard", "tensorboard"), ("MLflow", "mlflow"), ("WandB", "wandb")],
)
def test_loggers(tmp_path, console, monkeypatch, part, module):
    monkeypatch.setenv("WANDB_SILENT", "true")
    settings = {"steps": 2, "callbacks": [{"type": PART + part}]}
    if importlib.util.find_spec(module) is None:
        with pytest.raises((ConfigError, MissingExtraError), match=rf"needs {module}, which is not installed"):
            train(standins.recipe(**settings), tmp_path, console=console)
        return
    train(standins.recipe(**settings), tmp_path, console=console)
    assert {"TensorBoard": "tensorboard", "MLflow": "mlflow.db", "WandB": "wandb"}[part] in {
        path.name for path in tmp_path.iterdir()
    }


def test_recipe_of_0_1_names_a_logger_by_its_module_of_then(tmp_path, console):
    part = {"type": "det_core.engine.callbacks:Profile", "start": 0, "steps": 1}
    train(standins.recipe(steps=2, callbacks=[part]), tmp_path, console=console)
    assert (tmp_path / "trace.json").exists()
