"""`det serve` with the trained detector of the examples: many clients, a changed file, SIGTERM."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from det_core.engine.checkpoint import read_checkpoint, save_checkpoint  # noqa: E402
from det_core.predict import Detector  # noqa: E402
from det_export.serve.settings import Limits  # noqa: E402
from small_servers import running  # noqa: E402

CELLS = Path(__file__).parents[3] / "examples" / "blood-cells"
PICTURES = sorted((CELLS / "images").glob("*.jpg"))[:6]

pytestmark = pytest.mark.skipif(not PICTURES, reason="the examples are not beside the package")


@pytest.fixture(scope="module")
def detector():
    return Detector.load(CELLS / "detector.safetensors", device="cpu")


def expected_of(detector, path):
    return detector(path).to_coco(0)


def same(found, expected):
    annotations = found["annotations"]
    assert len(annotations) == len(expected) > 0
    for one, other in zip(annotations, expected, strict=True):
        assert one["category_id"] == other["category_id"]
        assert one["bbox"] == pytest.approx(other["bbox"], abs=0.05)
        assert one["score"] == pytest.approx(other["score"], abs=1e-3)


def crowd(server, detector, clients, seconds):
    """Answers of clients that ask one picture after another, as often as 503 lets them; seconds of each request."""
    expected = {path: expected_of(detector, path) for path in PICTURES}
    times, refused, lock = [], [0], threading.Lock()
    end = time.monotonic() + seconds

    def ask(number):
        with httpx.Client(base_url=server.url, timeout=120) as client:
            turn = number
            while turn == number or time.monotonic() < end:
                path = PICTURES[turn % len(PICTURES)]
                turn += 1
                started = time.perf_counter()
                answer = client.post("/predict", content=path.read_bytes())
                if answer.status_code == 503:
                    assert int(answer.headers["retry-after"]) >= 1
                    refused[0] += 1
                    time.sleep(0.2)
                    continue
                assert answer.status_code == 200, answer.text
                same(answer.json(), expected[path])
                with lock:
                    times.append(time.perf_counter() - started)

    with ThreadPoolExecutor(clients) as pool:
        for each in [pool.submit(ask, number) for number in range(clients)]:
            each.result()
    return sorted(times), refused[0]


def test_twenty_clients_get_their_own_answers(detector):
    with running({"cells": detector}, replace(Limits(), queue=64), batch=4) as server:
        times, refused = crowd(server, detector, 20, 3)
        assert (len(times) >= 20, refused) == (True, 0)
        lines = httpx.get(f"{server.url}/metrics").text.splitlines()
        [answered] = [line for line in lines if line.startswith('det_requests_total{path="/predict",status="200"}')]
        assert float(answered.split()[-1]) == len(times)


@pytest.mark.slow
def test_fifty_clients_for_a_minute(detector, capsys):
    with running({"cells": detector}, replace(Limits(), queue=32), batch=4) as server:
        times, refused = crowd(server, detector, 50, 60)
        assert len(times) > 50
        assert server.models["cells"].waiting == 0
    with capsys.disabled():
        p99 = times[int(0.99 * len(times))]
        print(f"\n{len(times)} answers, {refused} refused by 503, p99 {p99:.2f} s")  # noqa: T201


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def started(*arguments):
    """A process of `det serve` and its address."""
    command = [
        sys.executable,
        "-c",
        "from det_core.cli.main import det; det()",
        "serve",
        "--port",
        "0",
        *map(str, arguments),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    line = process.stdout.readline()
    assert "http://" in line, line
    return process, "http" + line.rpartition("http")[2].strip()


def test_command_reloads_file_and_finishes_requests_at_sigterm(detector, tmp_path):
    file = tmp_path / "cells.safetensors"
    shutil.copy(CELLS / "detector.safetensors", file)
    process, url = started(file)
    try:
        path = PICTURES[0]
        same(httpx.post(f"{url}/predict", content=path.read_bytes(), timeout=60).json(), expected_of(detector, path))
        statuses, stop = [], threading.Event()

        def ask():
            while not stop.is_set():
                answer = httpx.post(f"{url}/predict/cells", content=path.read_bytes(), timeout=60)
                statuses.append((answer.status_code, answer.json().get("categories", [{}])[0].get("name")))

        asking = threading.Thread(target=ask)
        asking.start()
        file.write_bytes(b"half of a file")
        wait_for(url, lambda model: model["problem"])
        about, state = read_checkpoint(CELLS / "detector.safetensors")
        renamed = tuple(f"new {name}" for name in about.classes)
        save_checkpoint(file, with_state(detector, state), replace(about, classes=renamed))
        wait_for(url, lambda model: model["reloads"] == 1 and not model["problem"])
        before = len(statuses)
        while asking.is_alive() and len(statuses) < before + 3:
            time.sleep(0.01)
        stop.set()
        asking.join()
        assert {status for status, _ in statuses} == {200}
        assert statuses[0][1] + " -> " + statuses[-1][1] == f"{about.classes[0]} -> new {about.classes[0]}"

        with ThreadPoolExecutor(6) as pool:
            answers = [
                pool.submit(httpx.post, f"{url}/predict", content=path.read_bytes(), timeout=60) for _ in range(6)
            ]
            while 'det_pictures_waiting{model="cells"} 6.0' not in httpx.get(f"{url}/metrics", timeout=60).text:
                if all(each.done() for each in answers):
                    break
            process.send_signal(signal.SIGTERM)
            assert [each.result().status_code for each in answers] == [200] * 6
        assert process.wait(60) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")
    finally:
        process.kill()
        process.wait()


def with_state(detector, state):
    model = detector.recipe.build_model()
    model.load_state_dict(state)
    return model


def wait_for(url, condition):
    """Wait until the only model of a server fulfills a condition."""
    end = time.monotonic() + 60
    while not condition(httpx.get(f"{url}/models", timeout=60).json()[0]):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnx", "aoti"])
def test_runtime_answers_as_eager(runtime, detector):
    process, url = started(CELLS / "detector.safetensors", "--runtime", runtime)
    try:
        for path in PICTURES[:2]:
            answer = httpx.post(f"{url}/predict", content=path.read_bytes(), timeout=60)
            same(answer.json(), expected_of(detector, path))
    finally:
        process.terminate()
        assert process.wait(60) == 0
        process.kill()


@pytest.mark.slow
def test_memory_stays_flat_over_many_requests(detector):
    import resource

    body = PICTURES[0].read_bytes()
    with running({"cells": detector}, Limits(), batch=1) as server, httpx.Client(base_url=server.url) as client:
        sizes = []
        for _ in range(5):
            for _ in range(100):
                assert client.post("/predict", content=body, timeout=60).status_code == 200
            sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert sizes[-1] - sizes[1] < 30_000, json.dumps(sizes)  # kilobytes
