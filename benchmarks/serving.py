"""What `det serve` adds to the time of a picture at batch 1, and its first requests after the start.

    python benchmarks/serving.py            # writes benchmarks/results/serving.json
    python benchmarks/serving.py --memory   # adds the memory of 5000 requests; takes minutes

The model is the trained detector of examples/blood-cells on one thread. A round predicts each of the pictures three
times, one way after the other: `Detector` on a tensor; the same with reading the file and writing the JSON, which a
user would do without a server, too; and a request over a connection of loopback that is kept open. The overhead is the
last against the second: the ratio of the lowest times over all rounds, which other programs disturb least, as the mean
over pictures. Memory is that of the process, read after each tenth
of the requests; `growth` is the largest reading less the first.
"""

import argparse
import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import httpx
import torch
from det_core.data.images import decode_image
from det_core.predict import Detector
from det_export.serve import answers
from det_export.serve.metrics import Metrics
from det_export.serve.served import ServedModel
from det_export.serve.server import Server
from det_export.serve.settings import Limits

ROOT = Path(__file__).parents[1]
CELLS = ROOT / "examples" / "blood-cells"
RESULT = ROOT / "benchmarks" / "results" / "serving.json"


def milliseconds(call: Callable[[], object]) -> float:
    """The time of one call."""
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument("--memory", action="store_true", help="only memory, over --requests")
    parser.add_argument("--requests", type=int, default=5000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    limits, metrics = Limits(), Metrics()
    file = CELLS / "detector.safetensors"
    model = ServedModel("cells", lambda: Detector.load(file, device="cpu"), lambda: None, 1, limits, metrics)
    server = Server({"cells": model}, ("127.0.0.1", 0), "", limits, metrics)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    bodies = [path.read_bytes() for path in sorted((CELLS / "images").glob("*.jpg"))[: options.pictures]]
    try:
        if options.memory:
            result = {"memory": held(server.url, bodies, options.requests)}
        else:
            result = measured(server.url, model.detector, bodies, options.rounds)
    finally:
        server.should_exit = True
        thread.join()
    kept = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    RESULT.write_text(json.dumps(kept | result, indent=1) + "\n", "utf-8")
    print(json.dumps(result, indent=1))


def held(url: str, bodies: list[bytes], requests: int) -> dict[str, object]:
    """Memory of this process in MB, after each tenth of the requests; Linux alone tells it."""
    megabytes = []
    with httpx.Client(base_url=url, timeout=60) as client:
        for step in range(10):
            for number in range(requests // 10):
                assert client.post("/predict", content=bodies[number % len(bodies)]).status_code == 200
            status = Path("/proc/self/status").read_text("ascii")
            megabytes.append(round(int(status.split("VmRSS:")[1].split()[0]) / 1000, 1))
            print(f"{(step + 1) * (requests // 10)} requests: {megabytes[-1]} MB", flush=True)
    return {"requests": requests, "megabytes": megabytes, "growth": round(max(megabytes) - megabytes[0], 1)}


def measured(url: str, detector: Detector, bodies: list[bytes], rounds: int) -> dict[str, object]:
    """The figures; the first requests come first."""
    level = detector.threshold

    def local(body: bytes) -> bytes:
        result = detector(decode_image(body, "picture"), threshold=0.0).filtered(level)
        return answers.coco("cells", [answers.entries_of(result, 0, "picture")])

    with httpx.Client(base_url=url, timeout=60) as client:

        def request(body: bytes) -> bytes:
            answer = client.post("/predict", content=body)
            assert answer.status_code == 200
            return answer.content

        first = [milliseconds(lambda: request(bodies[0])) for _ in range(10)]
        assert json.loads(request(bodies[0])) == json.loads(local(bodies[0]))
        tensors = [decode_image(body, "picture") for body in bodies]
        times: dict[str, list[float]] = {"model": [], "local": [], "server": []}
        for _ in range(rounds):
            for body, tensor in zip(bodies, tensors, strict=True):
                times["model"].append(milliseconds(lambda tensor=tensor: detector(tensor)))
                times["local"].append(milliseconds(lambda body=body: local(body)))
                times["server"].append(milliseconds(lambda body=body: request(body)))
    medians = {name: round(statistics.median(each), 2) for name, each in times.items()}
    count = len(bodies)
    least = {name: [min(each[picture::count]) for picture in range(count)] for name, each in times.items()}
    ratios = [server / local for server, local in zip(least["server"], least["local"], strict=True)]
    return {
        "pictures": count,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "median_ms": medians,
        "least_ms": {name: round(statistics.mean(each), 2) for name, each in least.items()},
        "overhead_percent": round(100 * (statistics.mean(ratios) - 1), 1),
        "first_requests_ms": [round(each, 1) for each in first],
    }


if __name__ == "__main__":
    main()
