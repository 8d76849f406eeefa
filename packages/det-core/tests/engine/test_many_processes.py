"""Training on several processes over gloo; `many_processes` is the program."""

import json
import signal
import socket
import sys
import time

import many_processes
import pytest
import torch
from det_core.engine import EMA, Parallel, Train, read_checkpoint, read_scalars, train
from det_core.engine.checkpoint import load_state
from det_core.errors import ConfigError

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


def test_syncbn_gradients_equal_one_process_and_bn_gradients_differ(alone, together):
    assert difference(alone["retinanet_syncbn"], together["retinanet_syncbn"]) < 1e-4
    assert difference(alone["retinanet_bn"], together["retinanet_bn"]) > 1e-3
    statistics = [result["retinanet_syncbn"][2] for result in (alone, together)]
    torch.testing.assert_close(*statistics, rtol=1e-4, atol=1e-6)
    # One process normalises the same with both.
    assert difference(alone["retinanet_bn"], alone["retinanet_syncbn"]) < 1e-5


def test_shuffle_two_processes_changes_the_gradients(alone, together):
    assert difference(together["faster_bn"], together["faster_bn_shuffle"]) > 1e-4
    assert difference(alone["faster_bn"], alone["faster_bn_shuffle"]) == 0


def test_accumulated_batches_without_counts_are_mean_of_their_gradients(alone):
    whole, parts = (many_processes.gradients(["retinanet"], steps=1, accumulate=n)["retinanet"] for n in (1, 2))
    assert 0 < difference(whole, parts) < 0.2


def test_precise_norms_two_processes_equal_those_of_one(tmp_path):
    many_processes.launch(2, "precise", tmp_path)
    torch.testing.assert_close(torch.load(tmp_path / "result.pt"), many_processes.precise())


def trained(folder, count, settings, *arguments, check=True, **options):
    return many_processes.launch(count, "train", folder, json.dumps(settings), *arguments, check=check, **options)


def losses(folder):
    return {row["step"]: row["loss"] for row in read_scalars(folder / "scalars.jsonl") if "loss" in row}


def test_two_process_run_resumes_with_one_or_two_processes(tmp_path):
    """Its images, files and scalars are those of one process; the stand-in's batch norm sees fewer images at once."""
    settings = {"steps": 4, "checkpoint_every": 2, "evaluate_every": 4}
    trained(tmp_path / "two", 2, settings)
    state = load_state(tmp_path / "two" / "last.state.pt")
    assert (state["step"], state["position"], state["processes"]) == (4, 16, 2)
    assert sorted(losses(tmp_path / "two")) == [1, 2, 3, 4]
    about, _ = read_checkpoint(tmp_path / "two" / "best.safetensors")
    assert about.metrics["box/seen"] == 6
    train(many_processes.recipe(**settings), tmp_path / "one")
    one, two = ({path.name for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    train(many_processes.recipe(**{**settings, "steps": 6}), tmp_path / "two", resume=True)
    state = load_state(tmp_path / "two" / "last.state.pt")
    assert (state["step"], state["position"]) == (6, 24)
    log = (tmp_path / "two" / "console.log").read_text()
    assert "changed since this run began: processes: 2 -> 1" in log


@pytest.mark.parametrize(
    ("how", "found"), [("raise", r"rank 1 (ValueError: the model is tired)"), ("kill", "rank 1 (killed, or it hangs)")]
)
def test_process_that_ends_ends_the_others_by_name(tmp_path, how, found):
    done = trained(tmp_path / "run", 2, {"steps": 9, "model": {"rank": 1, "how": how}}, check=False)
    assert done.returncode != 0
    assert found in done.stdout
    assert "ended the training of all processes" in done.stdout


def test_process_that_hangs_ends_the_others_by_name(tmp_path):
    settings = {"steps": 9, "parallel": {"timeout": 5}, "model": {"rank": 0, "how": "hang"}}
    done = trained(tmp_path / "run", 2, settings, check=False)
    assert done.returncode != 0
    assert "rank 0 (killed, or it hangs)" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("rendezvous", ["static", "c10d"])
def test_two_nodes_train_as_two_processes(tmp_path, rendezvous):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = ["--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}", "--rdzv-id", "7"]
    if rendezvous == "static":
        common = ["--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", str(port)]
    settings = json.dumps({"steps": 4, "checkpoint_every": 2, "evaluate_every": 4})
    running = []
    for node in ("0", "1"):
        launcher = [*common, "--node-rank", node] if rendezvous == "static" else common
        running.append(many_processes.start(1, "train", tmp_path / "nodes", settings, launcher=launcher))
    outputs = [process.communicate(timeout=400)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    trained(tmp_path / "one", 2, json.loads(settings))
    assert losses(tmp_path / "nodes") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert load_state(tmp_path / "nodes" / "last.state.pt")["processes"] == 2


def test_timeout_ends_a_hanging_process_within_a_minute():
    assert Parallel().timeout + 5 < 60


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_sigterm_to_torchrun_saves_the_step_of_all_processes(tmp_path):
    settings = {"steps": 100_000, "checkpoint_every": None}
    process = many_processes.start(2, "train", tmp_path / "run", json.dumps(settings))
    scalars, limit = tmp_path / "run" / "scalars.jsonl", time.monotonic() + 120
    while process.poll() is None and time.monotonic() < limit:
        if scalars.exists() and scalars.read_text().count("\n") > 2:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0, output
    assert load_state(tmp_path / "run" / "last.state.pt")["step"] == max(losses(tmp_path / "run")), output


def test_batch_size_that_processes_cannot_share_refused():
    assert Train(steps=1, batch_size=12, accumulate=2).local_batch_size(3) == 2
    with pytest.raises(ConfigError, match=r"train\.batch_size: .*; got 12 for 5 processes .*multiple of 5"):
        Train(steps=1, batch_size=12).local_batch_size(5)


def test_killed_process_is_restarted_and_the_run_goes_on(tmp_path):
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


def test_shard_layers_takes_the_outermost_matches_of_each_pattern(tmp_path):
    many_processes.launch(2, "sharded", tmp_path, "b*", "body.[03]")
    assert torch.load(tmp_path / "result.pt") == ["", "body", "body.0", "body.3"]
    done = many_processes.launch(2, "sharded", tmp_path, "bodies*", check=False)
    assert "train.parallel.shard_layers: matches no module of the model; got bodies*" in done.stdout


@pytest.mark.parametrize("part", [{"ema": EMA()}, {"callbacks": [EMA()]}])
def test_sharded_weights_with_ema_refused(part):
    with pytest.raises(ConfigError, match=r"train\.ema: does not work with sharded weights.*train\.ema=null"):
        Train(steps=1, parallel=Parallel(shard=True), **part)
