"""Training on several processes over gloo; `many_processes` is the program."""

import json

import many_processes
import pytest
import torch
from det_core.engine import read_checkpoint, read_scalars, train
from det_core.engine.checkpoint import load_state

CONSTANT = ("faster", "mask", "retinanet", "fcos")


def difference(one, other):
    """The largest relative difference of the gradients of each parameter, and of the losses."""
    (losses, gradients, _), (other_losses, other_gradients, _) = one, other
    assert losses.keys() == other_losses.keys()
    assert gradients.keys() == other_gradients.keys()
    scale = max(value.abs().max() for value in gradients.values())
    apart = [(gradients[key] - other_gradients[key]).abs().max() / scale for key in gradients]
    apart += [torch.tensor(abs(losses[key] - other_losses[key]) / losses[key]) for key in losses if losses[key]]
    return max(float(value) for value in apart)


@pytest.fixture(scope="module")
def alone():
    return many_processes.gradients()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    many_processes.launch(2, "gradients", folder)
    return torch.load(folder / "result.pt")


@pytest.mark.parametrize("name", CONSTANT)
def test_gradients_two_processes_equal_those_of_one(alone, together, name):
    assert difference(alone[name], together[name]) < 1e-5


@pytest.mark.slow
def test_gradients_four_processes_equal_those_of_one(alone, tmp_path):
    many_processes.launch(4, "gradients", tmp_path, *CONSTANT)
    found = torch.load(tmp_path / "result.pt")
    for name in CONSTANT:
        assert difference(alone[name], found[name]) < 1e-5, name


def test_gradients_of_syncbn_equal_those_of_one_process_and_those_of_bn_do_not(alone, together):
    assert difference(alone["retinanet_syncbn"], together["retinanet_syncbn"]) < 1e-4
    assert difference(alone["retinanet_bn"], together["retinanet_bn"]) > 1e-3
    statistics = [result["retinanet_syncbn"][2] for result in (alone, together)]
    torch.testing.assert_close(*statistics, rtol=1e-4, atol=1e-6)
    # One process normalises the same with both.
    assert difference(alone["retinanet_bn"], alone["retinanet_syncbn"]) < 1e-5


def test_shuffle_two_processes_changes_the_gradients(alone, together):
    assert difference(together["faster_bn"], together["faster_bn_shuffle"]) > 1e-4
    assert difference(alone["faster_bn"], alone["faster_bn_shuffle"]) == 0


def test_accumulated_batches_without_counts_are_the_mean_of_their_gradients(alone):
    whole, parts = (many_processes.gradients(["retinanet"], steps=1, accumulate=n)["retinanet"] for n in (1, 2))
    assert 0 < difference(whole, parts) < 0.2


def test_precise_norms_two_processes_equal_those_of_one(tmp_path):
    many_processes.launch(2, "precise", tmp_path)
    torch.testing.assert_close(torch.load(tmp_path / "result.pt"), many_processes.precise())


def trained(folder, count, settings, *arguments, check=True, **options):
    return many_processes.launch(count, "train", folder, json.dumps(settings), *arguments, check=check, **options)


def losses(folder):
    return {row["step"]: row["loss"] for row in read_scalars(folder / "scalars.jsonl") if "loss" in row}


def test_train_two_processes_stopped_and_resumed_by_one_and_by_two(tmp_path):
    """Its images, files and scalars are those of one process; the stand-in's batch norm sees fewer images at once."""
    settings = {"steps": 4, "checkpoint_every": 2, "evaluate_every": 4}
    trained(tmp_path / "two", 2, settings)
    state = load_state(tmp_path / "two" / "last.state.pt")
    assert (state["step"], state["position"], state["processes"]) == (4, 16, 2)
    assert sorted(losses(tmp_path / "two")) == [1, 2, 3, 4]
    about, _ = read_checkpoint(tmp_path / "two" / "best.safetensors")
    assert about.metrics["box/seen"] == 6
    train(many_processes.recipe(**{**settings, "steps": 6}), tmp_path / "two", resume=True)
    state = load_state(tmp_path / "two" / "last.state.pt")
    assert (state["step"], state["position"]) == (6, 24)
    log = (tmp_path / "two" / "console.log").read_text()
    assert "changed since this run began: processes: 2 -> 1" in log


@pytest.mark.parametrize(
    ("how", "found"), [("raise", r"rank 1 (ValueError: the model is tired)"), ("kill", "rank 1 (killed, or it hangs)")]
)
def test_a_process_that_ends_ends_the_others_by_name(tmp_path, how, found):
    done = trained(tmp_path / "run", 2, {"steps": 9, "model": {"rank": 1, "how": how}}, check=False)
    assert done.returncode != 0
    assert found in done.stdout
    assert "ended the training of all processes" in done.stdout


def test_a_process_that_hangs_ends_the_others_by_name(tmp_path):
    settings = {"steps": 9, "parallel": {"timeout": 5}, "model": {"rank": 0, "how": "hang"}}
    done = trained(tmp_path / "run", 2, settings, check=False)
    assert done.returncode != 0
    assert "rank 0 (killed, or it hangs)" in done.stdout


def test_a_killed_process_is_restarted_and_the_run_goes_on(tmp_path):
    settings = {"steps": 7, "checkpoint_every": 2, "model": {"rank": 1, "how": "kill", "at": 4}}
    # It dies after its fourth step of each start: the second begins at step 4, the third has nothing left to die of.
    done = trained(tmp_path / "run", 2, settings, "--resume", max_restarts=3)
    assert "going on after step 4 of 7" in done.stdout
    assert sorted(losses(tmp_path / "run")) == [1, 2, 3, 4, 5, 6, 7]


def test_sharded_weights_train_as_copies_do_and_resume(tmp_path):
    settings = {"steps": 4, "checkpoint_every": 2, "schedule": {"type": "det_core.engine:WarmupMultiStep"}}
    trained(tmp_path / "copies", 2, settings)
    trained(tmp_path / "shards", 2, {**settings, "steps": 2, "parallel": {"shard": True}})
    trained(tmp_path / "shards", 2, {**settings, "parallel": {"shard": True}}, "--resume")
    assert losses(tmp_path / "shards") == pytest.approx(losses(tmp_path / "copies"), rel=1e-4)
    states = [read_checkpoint(tmp_path / name / "last.safetensors")[1] for name in ("copies", "shards")]
    torch.testing.assert_close(*states, rtol=1e-4, atol=1e-5)
