"""The parts that accompany a training, one by one."""

import io

import pytest
import standins
import torch
from det_core.engine import read_scalars, train
from det_core.engine.callbacks import Callbacks, Freeze
from det_core.engine.checkpoint import load_state
from det_core.errors import CheckpointError, ConfigError, TrainingError
from rich.console import Console

PART = "det_core.engine.callbacks:"


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def losses(folder):
    return {row["step"]: row["loss"] for row in read_scalars(folder / "scalars.jsonl") if "loss" in row}


class Counts:
    """Counts the calls of each method, and keeps its count over a resume."""

    def __init__(self):
        self.calls, self.steps = [], 0

    def on_start(self, trainer):
        self.calls.append("start")

    def after_step(self, trainer, scalars):
        self.steps += 1

    def after_evaluation(self, trainer, metrics):
        self.calls.append(f"evaluated at {trainer.step}")

    def after_checkpoint(self, trainer, path):
        self.calls.append(path.name)

    def on_end(self, trainer):
        self.calls.append("end")

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


@pytest.fixture
def counts(monkeypatch):
    made = []

    def make():
        made.append(Counts())
        return made[-1]

    monkeypatch.setattr(standins, "counts", make, raising=False)
    return made


def test_callbacks_only_the_methods_that_are_there_are_called():
    part = Counts()
    parts = Callbacks([object(), part])
    parts.call("before_step", None, [])
    parts.call("on_end", None)
    with parts.evaluation_weights(None):
        pass
    assert part.calls == ["end"]


def test_callbacks_state_of_another_list_is_noted():
    saved = Callbacks([Counts()]).state_dict()
    assert Callbacks([Counts()]).load_state_dict(saved) == []
    assert Callbacks([object()]).load_state_dict(saved) == [
        "callback object starts from its initial state: the run had none",
        "callback Counts of the run is no longer there",
    ]
    with pytest.raises(CheckpointError, match="callback Counts: cannot take its saved state; KeyError: 'steps'"):
        Callbacks([Counts()]).load_state_dict([("Counts", {})])


def test_callbacks_in_run_are_called_in_order_and_resumed(tmp_path, console, counts):
    settings = {"steps": 4, "callbacks": [{"type": "standins:counts"}]}
    train(standins.recipe(**settings), tmp_path, console=console)
    calls = ["start", "last.safetensors", "best.safetensors", "evaluated at 4", "last.safetensors", "end"]
    assert (counts[-1].calls, counts[-1].steps) == (calls, 4)
    train(standins.recipe(**{**settings, "steps": 6}), tmp_path, resume=True, console=console)
    assert counts[-1].steps == 6


def test_freeze_until_a_step(tmp_path, console):
    part = {"type": PART + "Freeze", "modules": ["body*"], "until": 3}
    for steps in (3, 4):
        settings = {"steps": steps, "checkpoint_every": 1, "callbacks": [part]}
        train(standins.recipe(**settings), tmp_path / str(steps), console=console)
    torch.manual_seed(0)
    initial = standins.Tiny().state_dict()
    frozen, later = (load_state(tmp_path / str(steps) / "last.state.pt")["model"] for steps in (3, 4))
    for name in ("body.0.weight", "body.2.running_mean"):
        assert torch.equal(frozen[name], initial[name])
        assert not torch.equal(later[name], initial[name])
    assert not torch.equal(frozen["head.weight"], initial["head.weight"])


@pytest.mark.parametrize("turn", [1, -1])
def test_freeze_two_stages_with_ema_resumed_between_them(tmp_path, console, turn):
    parts = [("body*", 2), ("body.[02]", 4)][::turn]
    callbacks = [{"type": PART + "Freeze", "modules": [name], "until": until} for name, until in parts]
    schedule = {"type": "det_core.engine:WarmupMultiStep", "warmup": 2}
    settings = {"callbacks": callbacks, "ema": {"decay": 0.5, "warmup": 0}, "schedule": schedule}
    torch.manual_seed(0)
    initial = standins.Tiny().state_dict()
    later = {2: {"head.weight"}, 4: {"head.weight", "body.3.weight"}}
    later[5] = {*later[4], "body.0.weight", "body.2.weight", "body.2.running_mean"}
    for steps, changed in later.items():
        train(standins.recipe(**settings, steps=steps), tmp_path / "run", resume=True, console=console)
        state = load_state(tmp_path / "run" / "last.state.pt")
        average = state["callbacks"][0][1]["average"]
        for name in later[5]:
            assert torch.equal(state["model"][name], initial[name]) == (name not in changed), (steps, name)
            assert torch.equal(average[name], initial[name]) == (name not in changed), (steps, name)
    train(standins.recipe(**settings, steps=5), tmp_path / "whole", console=console)
    states = [load_state(tmp_path / name / "last.state.pt") for name in ("run", "whole")]
    torch.testing.assert_close(*(state["model"] for state in states), rtol=0, atol=0)
    assert "step 4: unfrozen body.[02]" in console.file.getvalue()


def test_freeze_no_such_module_refused(tmp_path, console):
    part = {"type": PART + "Freeze", "modules": ["bodies.*"]}
    with pytest.raises(ConfigError, match=r"Freeze\.modules: matches no module .* there are body, head"):
        train(standins.recipe(callbacks=[part]), tmp_path, console=console)
    assert Freeze(["a"]).until is None


def test_exploding_loss_keeps_its_batch(tmp_path, console):
    recipe = standins.recipe()
    recipe.tree["model"]["explode_after"] = 2
    with pytest.raises(TrainingError, match=r"step 3: loss or gradient is not finite.*bad_batch\.pt"):
        train(recipe, tmp_path, console=console)
    kept = torch.load(tmp_path / "bad_batch.pt")
    assert kept["step"] == 3
    assert kept["batches"][0]["pixels"].shape == (2, 3, *standins.SIZE)
    assert len(kept["batches"][0]["boxes"]) == 2


def test_out_of_memory_names_sizes_and_remedies(tmp_path, console, monkeypatch):
    def losses(self, *arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")

    train_only = standins.Tiny.losses
    monkeypatch.setattr(standins.Tiny, "losses", lambda s, *a: losses(s) if s.training else train_only(s, *a))
    with pytest.raises(TrainingError) as caught:
        train(standins.recipe(), tmp_path, console=console)
    assert "2 images padded to 32 x 48 with 4 objects: CUDA out of memory" in str(caught.value)
    assert "raise train.accumulate above 1" in str(caught.value)


@pytest.mark.parametrize("settings", [{"precision": "fp16"}, {"precision": "bf16"}, {"recompute": ["body"]}])
def test_precision_and_recomputing_train_alike(tmp_path, console, settings):
    train(standins.recipe(), tmp_path / "plain", console=console)
    train(standins.recipe(**settings), tmp_path / "other", console=console)
    exact, half = "recompute" in settings, settings.get("precision") == "fp16"
    plain, other = losses(tmp_path / "plain"), losses(tmp_path / "other")
    if half:  # the first steps are left out until the scale fits
        assert load_state(tmp_path / "other" / "last.state.pt")["scaler"]["scale"] < 65536
        assert other[6] < other[1] == pytest.approx(plain[1], rel=0.01)
    else:
        assert other == pytest.approx(plain, rel=1e-6 if exact else 0.05)
    assert exact or other != plain


def test_recompute_no_such_module_refused(tmp_path, console):
    with pytest.raises(ConfigError, match=r"train\.recompute: matches no module"):
        train(standins.recipe(recompute=["nothing"]), tmp_path, console=console)


def test_accumulated_batches_update_once_a_step(tmp_path, console):
    train(standins.recipe(batch_size=4, accumulate=2), tmp_path, console=console)
    state = load_state(tmp_path / "last.state.pt")
    assert (state["step"], state["position"]) == (6, 24)
