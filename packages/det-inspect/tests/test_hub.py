"""Detectors on a hub that a thread of this process stands in for; the library is the real one."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import standins
from det_core import Detector
from det_core.engine import train
from det_core.errors import ConfigError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """One repository: it is made, takes a commit of files as base64, and gives them."""

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def answer(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        files = self.server.files  # type: ignore[attr-defined]
        if self.headers.get("Authorization") != "Bearer hf_right":
            self.answer({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            name = json.loads(text)
            self.answer({"url": f"http://{self.headers['Host']}/{name['organization']}/{name['name']}"})
        elif "/preupload/" in self.path:
            own = [{"path": each["path"], "uploadMode": "regular"} for each in json.loads(text)["files"]]
            self.answer({"files": [{**each, "shouldIgnore": False} for each in own]})
        elif "/commit/" in self.path:
            for line in map(json.loads, text.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer({"commitUrl": f"http://{self.headers['Host']}/me/squares/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self.answer({"errors": [], "warnings": []})

    def do_GET(self) -> None:
        files = self.server.files  # type: ignore[attr-defined]
        name = self.path.partition("?")[0].rpartition("/")[2]
        if "/resolve/" in self.path and name in files:
            self.answer(files[name], ETag=f'"{len(files[name]):040x}"', X_Repo_Commit=COMMIT)
        elif self.path.startswith("/api/models/"):
            self.answer({"id": "me/squares", "sha": COMMIT, "siblings": []})
        else:
            self.answer({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")

    do_HEAD = do_GET  # noqa: N815 (the name that the server asks for)


@pytest.fixture
def hub() -> Iterator[tuple[str, dict[str, bytes]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files = {}  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", server.files  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


PROGRAM = """
import sys
from det_core import Detector
checkpoint, token = sys.argv[1:]
detector = Detector.load(checkpoint, device="cpu", trust=True)
detector.threshold = 0.37
print(detector.push_to_hub("me/squares", token=token))
again = Detector.load("hf://me/squares", device="cpu", trust=True)
print(again.classes, again.category_ids, again.threshold, Detector.load("hf://me/squares@main", trust=True).about.step)
"""


def test_push_to_hub_then_load_gives_the_same_detector(hub: tuple[str, dict[str, bytes]], tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    address, files = hub
    folder = train(standins.recipe(steps=2), tmp_path / "run").folder
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_DISABLE_XET": "1"}
    environment["PYTHONPATH"] = str(Path(standins.__file__).parent)

    def pushed(token: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", PROGRAM, str(folder.last), token]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = pushed("hf_right")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{address}/me/squares", "('red', 'blue') (10, 20) 0.37 2"]
    assert 'Detector.load("hf://me/squares")' in files["README.md"].decode()
    assert "A detector of 2 classes: red, blue." in files["README.md"].decode()
    assert Detector.load(folder.last, device="cpu", trust=True).threshold == 0.5
    refused = pushed("hf_wrong")
    assert refused.returncode == 1
    assert "WeightsError: me/squares: cannot be uploaded" in refused.stderr
    assert "check the name, the network, and the token: hf auth login" in refused.stderr


def test_save_without_a_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Detector\.save: cannot write a model that no recipe describes"):
        Detector(standins.Tiny(), ["red", "blue"], device="cpu").save(tmp_path / "a.safetensors")
