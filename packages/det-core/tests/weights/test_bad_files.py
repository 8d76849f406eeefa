"""Weight files that are damaged, of something else, or written by two at once."""

import pickle
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest
import serving
import torch
from det_core.errors import WeightsError
from det_core.weights import load_into, read
from det_core.weights.sources import cache_folder, fetch
from safetensors.torch import save_file
from torch import nn

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>404</title></head></html>"
WRITERS = {
    "w.pth": lambda path: torch.save(STATE, path),
    "old.pth": lambda path: torch.save(STATE, path, _use_new_zipfile_serialization=False),
    "w.safetensors": lambda path: save_file(STATE, path),
    "w.pkl": lambda path: path.write_bytes(pickle.dumps({key: value.numpy() for key, value in STATE.items()}, 2)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_file_cut_anywhere_is_refused(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path)
    whole = path.read_bytes()
    assert read(path).keys() == STATE.keys()
    for end in {*range(0, len(whole), max(1, len(whole) // 150)), len(whole) - 1}:
        path.write_bytes(whole[:end])
        with pytest.raises(WeightsError, match=r"damaged|no weight file|holds no state dict|more than"):
            read(path)


@pytest.mark.parametrize("name", WRITERS)
def test_web_page_saved_as_weights_is_called_one(tmp_path, name):
    (tmp_path / name).write_bytes(PAGE)
    with pytest.raises(WeightsError, match="is no weight file; it is a web page that was saved under this name"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", WRITERS)
def test_noise_is_no_weight_file(tmp_path, name):
    (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(WeightsError, match=r"damaged|more than"):
        read(tmp_path / name)


def test_load_into_weights_of_another_model_refused_model_unchanged():
    model = nn.Linear(3, 2)
    before = model.weight.clone()
    with pytest.raises(WeightsError, match="does not fit Linear; 1 tensor of another shape"):
        load_into(model, {"weight": torch.zeros(4, 3), "bias": torch.zeros(2)})
    assert torch.equal(model.weight, before)


def test_load_into_nan_weights_refused_by_name_model_unchanged():
    model = nn.Linear(3, 2)
    before = model.weight.clone()
    with pytest.raises(WeightsError, match=r"w\.pth: contains NaN; 1 tensor with NaN: bias; take"):
        load_into(model, {**STATE, "bias": torch.tensor([0.0, float("nan")])}, "w.pth")
    assert torch.equal(model.weight, before)


class Slow(BaseHTTPRequestHandler):
    """Gives a file in two halves with a pause between; a page where a page is asked for."""

    content = bytes(200_000)

    def do_GET(self):
        self.server.asked.append(self.path)
        content = PAGE if self.path.startswith("/page") else self.content
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        time.sleep(0.3)
        self.wfile.write(content[len(content) // 2 :])

    def log_message(self, *given):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("DET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DET_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    with serving.serving(Slow) as running:
        yield running


def test_web_page_in_place_of_file_is_not_kept(server):
    with pytest.raises(WeightsError, match="cannot be downloaded; the answer is a web page; open http"):
        fetch(f"{server.url}/page.pth")
    assert {path.name for path in cache_folder().rglob("*") if path.is_file()} == {"lock"}


def test_download_by_two_processes_happens_once(server):
    program = "import sys; from det_core.weights.sources import fetch; print(fetch(sys.argv[1]))"
    command = [sys.executable, "-c", program, f"{server.url}/net.pth"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    paths = {process.communicate(timeout=300)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert paths == {str(fetch(f"{server.url}/net.pth"))}
    assert fetch(f"{server.url}/net.pth").read_bytes() == Slow.content
    assert server.asked == ["/net.pth"]


def test_download_lock_of_killed_process_is_released(server):
    program = "import sys; from det_core.weights.sources import fetch; fetch(sys.argv[1])"
    dying = subprocess.Popen([sys.executable, "-c", program, f"{server.url}/net.pth"])
    while not server.asked:
        time.sleep(0.02)
    dying.kill()
    dying.wait()
    assert fetch(f"{server.url}/net.pth").read_bytes() == Slow.content
