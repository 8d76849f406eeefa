"""Helper modules of this folder are importable by name; commands run with workers in this process, or with Ray."""

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from det_core.cli.main import det

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A checkpoint that needs --trust, of a model that takes a millisecond."""
    import tiny_detector

    return tiny_detector.save(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture
def in_process(monkeypatch):
    """One worker in this process instead of Ray's; returns the list of the blocks that it is given."""
    from det_ray import cluster, runs

    given = []

    @contextmanager
    def connected(address, need):
        yield

    def run_blocks(blocks, worker, folder, options, need):
        own = worker(folder, json.loads(json.dumps(options)))
        for block in blocks:
            given.append(block.number)
            row = {name: np.array([getattr(block, name)]) for name in ("number", "first", "count")}
            yield cluster.accepted(own(row)["summary"][0])

    monkeypatch.setattr(runs, "connected", connected)
    monkeypatch.setattr(runs, "run_blocks", run_blocks)
    return given


@pytest.fixture
def command(monkeypatch):
    """Runs `det` in this process; returns (exit code, output and errors)."""
    monkeypatch.setenv("RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))

    def run(*arguments):
        result = CliRunner().invoke(det, [str(each) for each in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return run


@pytest.fixture
def predict(command, model, tmp_path):
    """Runs `det ray predict SOURCE` with the tiny model; returns (exit code, output, rows of the results)."""
    from det_ray.results import read_rows

    def run(source, *options, output=tmp_path / "found"):
        code, text = command("ray", "predict", source, "--model", model, "--trust", "--output", output, *options)
        return code, text, list(read_rows(output)) if (output / "index.html").exists() else []

    return run
