"""What Ray costs `det ray predict`, what a second worker brings, and how soon it goes on after a kill.

Run it: python benchmarks/ray_predict.py

A stand-in for a detector keeps one core busy for 0.3 s per image. The same images are predicted by a worker of this
process without Ray, by one worker of Ray and by two; times run from the first block to the last, so that starting is
left out, which is given by itself. Two workers have to be at least 1.8 times as fast as one, and Ray may take 10 % more
than no Ray. Then a worker is killed, and in another run all of it; within a minute the next image has to be done.
Needs two idle cores.
"""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from det_ray.folder import RunFolder
from PIL import Image

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "ray_predict.json"
SECONDS, IMAGES, BLOCK = 0.3, 80, 4
MAIN = "from det_core.cli.main import main; main()"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}


def prepare(folder: Path) -> None:
    """Write the images and the checkpoint of the stand-in."""
    sys.path.insert(0, str(HERE))
    from _busy_detector import Busy
    from det_core.engine.checkpoint import Checkpoint, save_checkpoint

    (folder / "images").mkdir()
    for number in range(IMAGES):
        values = np.random.default_rng(number).integers(0, 256, (480, 640, 3), np.uint8)
        Image.fromarray(values).resize((640, 480)).save(folder / "images" / f"{number:03d}.jpg")
    recipe = f"model:\n  type: _busy_detector:Busy\n  seconds: {SECONDS}\ndata:\n  eval_transforms: []\n"
    save_checkpoint(folder / "busy.safetensors", Busy(SECONDS), Checkpoint(recipe=recipe, classes=("thing",)))


def start(folder: Path, output: Path, workers: int) -> "subprocess.Popen[str]":
    """Start the command."""
    program = [sys.executable, "-c", MAIN, "ray", "predict", str(folder / "images"), "--trust"]
    program += ["--model", str(folder / "busy.safetensors"), "--output", str(output)]
    program += ["--workers", str(workers), "--block", str(BLOCK)]
    return subprocess.Popen(program, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: "subprocess.Popen[str]") -> None:
    """Wait for the command, which has to succeed."""
    text = process.communicate()[0]
    if process.returncode:
        raise SystemExit(text)


def span(output: Path) -> tuple[float, float, int]:
    """When the first block began and the last one ended, and the number of images."""
    folder = RunFolder(output)
    blocks = [folder.summary(number) for number in folder.done()]
    ends = [each["began"] + each["seconds"] for each in blocks]
    return min(each["began"] for each in blocks), max(ends), sum(each["images"] for each in blocks)


def with_ray(folder: Path, workers: int) -> dict[str, float]:
    """Seconds until the first block began, and seconds per image from then on."""
    output, began = folder / f"found-{workers}", time.time()
    finish(start(folder, output, workers))
    first, last, images = span(output)
    return {"workers": workers, "start_s": first - began, "s_per_image": (last - first) / images}


def without_ray(folder: Path) -> float:
    """Seconds per image of a worker in a process of its own, which is given block after block."""
    output = folder / "plain"
    shutil.copytree(folder / "found-1", output)
    for path in (output / "blocks").iterdir():
        path.unlink()
    subprocess.run([sys.executable, __file__, "--plain", str(folder), str(output)], env=ENVIRONMENT, check=True)
    first, last, images = span(output)
    return (last - first) / images


def plain(folder: Path, output: Path) -> None:
    """Work on all blocks of a plan in this process."""
    from det_ray.plan import read_plan
    from det_ray.worker import PredictWorker

    run = RunFolder(output)
    about = run.read_plan()
    plan = read_plan(run, about["settings"], about["model"])
    options = {**about["settings"], "sha256": about["model"]["sha256"], "examples": [], "versions": about["versions"]}
    options |= {"model": str(folder / "busy.safetensors"), "weights": None, "trust": True, "threads": 1}
    worker = PredictWorker(str(output), options)
    for block in plan.blocks:
        row = {name: np.array([getattr(block, name)]) for name in ("number", "first", "count")}
        assert "fault" not in str(worker(row)["summary"][0])


def after_kill(folder: Path, worker_only: bool) -> float:
    """Seconds from a kill to the next block: of the only worker, or of the driver, with the command given again."""
    output = folder / f"killed-{worker_only}"
    process, run = start(folder, output, 1), RunFolder(output)
    while len(run.done()) < 3:
        time.sleep(0.1)
    before = run.done()
    if worker_only:
        os.kill(int(run.summary(min(before))["worker"].rpartition("-")[2]), signal.SIGKILL)
    else:
        process.kill()
        process.wait()
        before = run.done()
    began = time.time()
    if not worker_only:
        process = start(folder, output, 1)
    while len(run.done()) <= len(before):
        time.sleep(0.05)
    found = time.time() - began
    finish(process)
    return found


def main() -> None:
    """Measure, print, and write the figures."""
    if sys.argv[1:2] == ["--plain"]:
        plain(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder)
        one, two = with_ray(folder, 1), with_ray(folder, 2)
        alone = without_ray(folder)
        kills = {"worker_s": after_kill(folder, True), "driver_s": after_kill(folder, False)}
    results: dict[str, Any] = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "s_of_work_per_image": SECONDS,
        "images": IMAGES,
        "images_per_block": BLOCK,
        "without_ray_s_per_image": alone,
        "with_ray": [one, two],
        "overhead_of_ray": one["s_per_image"] / alone - 1,
        "two_workers": one["s_per_image"] / two["s_per_image"],
        "next_block_after_kill": kills,
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
