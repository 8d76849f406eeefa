import pytest
import torch
from det_core.engine import checkpoint
from det_core.engine.checkpoint import Checkpoint, load_state, read_checkpoint, save_checkpoint, save_state, write_whole
from det_core.errors import CheckpointError
from safetensors.torch import save_file
from torch import nn

ABOUT = Checkpoint(
    recipe="model: {type: tiny}\n",
    classes=("RBC", "WBC"),
    category_ids=(1, 7),
    step=12,
    metrics={"bbox/AP": 0.5},
    versions={"det-core": "0.1.0"},
)


def test_checkpoint_round_trip_keeps_weights_and_metadata(tmp_path):
    model = nn.Linear(2, 3)
    save_checkpoint(tmp_path / "best.safetensors", model, ABOUT)
    about, state = read_checkpoint(tmp_path / "best.safetensors")
    assert about.recipe == ABOUT.recipe
    assert list(about.classes) == ["RBC", "WBC"]
    assert list(about.category_ids) == [1, 7]
    assert (about.step, about.metrics, about.versions) == (12, {"bbox/AP": 0.5}, {"det-core": "0.1.0"})
    torch.testing.assert_close(state, dict(model.state_dict()), rtol=0, atol=0)


def test_tied_weights_are_saved_under_both_names(tmp_path):
    model = nn.ModuleList([nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)])
    model[1].weight = model[0].weight
    save_checkpoint(tmp_path / "a.safetensors", model, ABOUT)
    _, state = read_checkpoint(tmp_path / "a.safetensors")
    assert torch.equal(state["0.weight"], state["1.weight"])


def test_checkpoint_crash_while_writing_keeps_old_file_only(tmp_path):
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, nn.Linear(2, 3), ABOUT)
    before = path.read_bytes()

    def crash(temporary):
        temporary.write_bytes(before[:40])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, crash)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_process_that_dies_before_move_leaves_old_file(tmp_path, monkeypatch):
    path = tmp_path / "last.state.pt"
    save_state(path, {"step": 1})

    def die(_):
        raise SystemExit

    monkeypatch.setattr(checkpoint, "_flush", die)
    with pytest.raises(SystemExit):
        save_state(path, {"step": 2})
    assert load_state(path)["step"] == 1


def test_full_disk_is_reported_and_the_old_file_stays(tmp_path):
    path = tmp_path / "last.state.pt"
    save_state(path, {"step": 1})

    def full(_):
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match=r"No space left.*unchanged"):
        write_whole(path, full)
    assert load_state(path)["step"] == 1


def test_weights_that_are_not_finite_never_replace_good_ones(tmp_path):
    path, model = tmp_path / "last.safetensors", nn.Linear(2, 3)
    save_checkpoint(path, model, ABOUT)
    before = path.read_bytes()
    nn.init.constant_(model.bias, float("nan"))
    with pytest.raises(CheckpointError, match=r"not finite; 1 of 2 tensors, the first is bias"):
        save_checkpoint(path, model, ABOUT)
    with pytest.raises(CheckpointError, match="not finite"):
        save_state(tmp_path / "last.state.pt", {"step": 3, "model": model.state_dict()})
    assert path.read_bytes() == before


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_half_a_checkpoint_is_called_damaged(tmp_path, share):
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, nn.Linear(20, 30), ABOUT)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=r"best\.safetensors: is damaged.*again"):
        read_checkpoint(path)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_half_a_training_state_is_called_damaged(tmp_path, share):
    path = tmp_path / "last.state.pt"
    save_state(path, {"step": 5, "model": nn.Linear(20, 30).state_dict()})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=r"last\.state\.pt: is damaged"):
        load_state(path)


def test_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="there is no such file"):
        read_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match=r"nothing to resume from.*without --resume"):
        load_state(tmp_path / "last.state.pt")


def test_weights_without_a_recipe_are_no_checkpoint(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match="no recipe to build the model from"):
        read_checkpoint(tmp_path / "bare.safetensors")


def test_training_state_can_run_no_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("the trap was sprung",))

    torch.save({"step": 1, "trap": Trap()}, tmp_path / "last.state.pt")
    with pytest.raises(CheckpointError, match=r"is damaged; it asks for __builtin__.print; start again"):
        load_state(tmp_path / "last.state.pt")


def test_file_of_something_else_is_no_training_state(tmp_path):
    torch.save([1, 2], tmp_path / "last.state.pt")
    with pytest.raises(CheckpointError, match="is not the state of a training run; found list"):
        load_state(tmp_path / "last.state.pt")


def test_checkpoint_threshold_becomes_that_of_the_detector(tmp_path):
    import standins
    from det_core import Detector

    recipe = standins.recipe()
    for number, threshold in enumerate((0.37, None)):
        about = Checkpoint(recipe=recipe.resolved().to_yaml(), classes=("red", "blue"), threshold=threshold)
        save_checkpoint(tmp_path / f"{number}.safetensors", recipe.build_model(), about)
        detector = Detector.load(tmp_path / f"{number}.safetensors", device="cpu")
        assert detector.threshold == (threshold or 0.5)
        assert detector.optimize().threshold == detector.threshold
        image = standins.Squares()[0].image
        scores = detector(image).detections.scores
        assert bool((scores >= detector.threshold).all())
