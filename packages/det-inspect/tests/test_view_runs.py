"""Runs in `det view`: curves that follow the files, samples, and what a folder does not have."""

import json
import math

import pytest
from det_core.errors import ConfigError

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from det_inspect.cli.data_sources import Sources
from det_inspect.cli.view import session_of as session_named
from test_view import client_of
from viewing import add_steps, write_run, write_set

NONE = Sources(None, (), (), "coco", (), (), None, (), None)


@pytest.fixture
def runs(tmp_path):
    file = write_set(tmp_path / "set")
    return [write_run(tmp_path / "runs" / name, file) for name in ("first", "second")]


@pytest.fixture
def client(runs, tmp_path):
    session = session_named(tuple(map(str, runs)), NONE, tmp_path / "cache", no_predict=True)
    with client_of(session) as opened:
        yield opened


def test_run_shows_its_validation_set(client):
    about = client.get("/api/set").json()
    assert about["splits"] == {"val": 4}
    assert about["runs"]
    assert about["models"] == []


def test_curves_follow_files(client, runs):
    first, second = client.get("/api/runs").json()
    assert (first["name"], second["name"]) == ("first", "second")
    assert first["curves"]["loss"] == [[10, 1.0], [20, 0.5]]
    assert first["progress"] == "20 of 40"
    add_steps(runs[0], [{"step": 30, "loss": math.nan}, {"step": 40, "loss": 0.25, "val/bbox/AP": 0.5}])
    first, _ = client.get("/api/runs").json()
    assert first["curves"]["loss"] == [[10, 1.0], [20, 0.5], [40, 0.25]]
    assert first["metrics"] == {"bbox/AP": 0.5}
    assert first["progress"] == "finished, 40 steps"


def test_long_curves_are_thinned_and_keep_ends(client, runs):
    add_steps(runs[0], [{"step": step, "loss": 1 / step} for step in range(21, 5021)])
    points = client.get("/api/runs").json()[0]["curves"]["loss"]
    assert len(points) <= 1001
    assert points[0] == [10, 1.0]
    assert points[-1] == [5020, 1 / 5020]


def test_only_samples_of_runs_are_files(client, runs, tmp_path):
    folder = runs[0] / "predictions"
    folder.mkdir()
    picture = (tmp_path / "set" / "images" / "a.png").read_bytes()
    for name in ("0000010.jpg", "other.txt"):
        (folder / name).write_bytes(picture)
    (folder / "0000020.jpg").symlink_to(runs[0] / "recipe.resolved.yaml")
    assert client.get("/api/runs").json()[0]["samples"] == ["0000010.jpg"]
    assert client.get("/runs/0/samples/0000010.jpg").content == picture
    for path in ("0/samples/other.txt", "0/samples/0000020.jpg", "1/samples/0000010.jpg", "-1/samples/0000010.jpg"):
        assert client.get(f"/runs/{path}").status_code == 404


def test_folders_without_runs_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for name, words in (("empty", "is a folder without a run"), ("absent.safetensors", "there is no such file")):
        with pytest.raises(ConfigError, match=words):
            session_named((str(tmp_path / name),), NONE, tmp_path)
    (tmp_path / "a.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="no data set is named"):
        session_named((str(tmp_path / "a.safetensors"),), NONE, tmp_path)


def test_damaged_scalars_are_a_note(client, runs):
    (runs[0] / "scalars.jsonl").write_text("no row\n" + json.dumps({"step": 1}), "utf-8")
    assert "is not JSON" in " ".join(client.get("/api/runs").json()[0]["notes"])
