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
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
from det_ray.folder import RunFolder
from PIL import Image

HERE = Path(__file__).parent
STAND_IN = HERE.parent / "packages" / "det-ray" / "tests"  # of tiny_detector
RESULTS = HERE / "results" / "ray_predict.json"
SECONDS, IMAGES, BLOCK = 0.3, 100, 2
MAIN = "from det_core.cli.main import main; main()"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(STAND_IN), "OMP_NUM_THREADS": "1"}


def prepare(folder: Path) -> None:
    """Write the images and the checkpoint of the stand-in."""
    sys.path.insert(0, str(STAND_IN))
    import tiny_detector

    (folder / "images").mkdir()
    for number in range(IMAGES):
        values = np.random.default_rng(number).integers(0, 256, (480, 640, 3), np.uint8)
        Image.fromarray(values).resize((640, 480)).save(folder / "images" / f"{number:03d}.jpg")
    tiny_detector.save(folder / "busy.safetensors", seconds=SECONDS)


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


def span(output: Path) -> tuple[float, float]:
    """When the first block began, and seconds per image from when the last worker began to when the first one ended."""
    folder = RunFolder(output)
    blocks = [folder.summary(number) for number in folder.done()]
    by_worker: dict[str, list[dict[str, Any]]] = {}
    for each in blocks:
        by_worker.setdefault(each["worker"], []).append({**each, "end": each["began"] + each["seconds"]})
    start = max(min(each["began"] for each in some) for some in by_worker.values())
    end = min(max(each["end"] for each in some) for some in by_worker.values())
    inside = 0.0  # images; of a block that begins before or ends after, its share
    for each in (each for some in by_worker.values() for each in some):
        share = (min(each["end"], end) - max(each["began"], start)) / (each["end"] - each["began"])
        inside += max(share, 0) * each["images"]
    return min(each["began"] for each in blocks), (end - start) / inside


def with_ray(folder: Path, workers: int) -> dict[str, float]:
    """Seconds until the first block began, and seconds per image from then on."""
    output, began = folder / f"found-{workers}", time.time()
    finish(start(folder, output, workers))
    first, each = span(output)
    return {"workers": workers, "start_s": first - began, "s_per_image": each}


def without_ray(folder: Path) -> float:
    """Seconds per image of a worker in a process of its own, which is given block after block."""
    output = folder / "plain"
    shutil.copytree(folder / "found-1", output)
    for path in (output / "blocks").iterdir():
        path.unlink()
    subprocess.run([sys.executable, __file__, "--plain", str(folder), str(output)], env=ENVIRONMENT, check=True)
    return span(output)[1]


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


def new(run: RunFolder, number: int, earlier: set[str]) -> bool:
    """Whether a block was made by another worker than the earlier ones."""
    return run.summary(number)["worker"] not in earlier


def after_kill(folder: Path, worker_only: bool) -> float:
    """Seconds from a kill to the next block: of the only worker, or of the driver, with the command given again."""
    output = folder / f"killed-{worker_only}"
    process, run = start(folder, output, 1), RunFolder(output)
    while len(run.done()) < 3:
        time.sleep(0.1)
    earlier = {run.summary(number)["worker"] for number in run.done()}
    began = time.time()
    if worker_only:
        os.kill(int(next(iter(earlier)).rpartition("-")[2]), signal.SIGKILL)
    else:
        process.kill()
        process.wait()
        process = start(folder, output, 1)
    while not any(new(run, number, earlier) for number in run.done()):
        time.sleep(0.05)
    found = time.time() - began
    finish(process)
    return found


def other_costs(folder: Path) -> dict[str, float]:
    """What 100 million images cost beside the model: decoding, planning, committing, and the sizes of files."""
    from det_core.data.images import decode_image
    from det_ray.plan import make_plan
    from det_ray.rows import digest, table_of
    from det_ray.sources import Entry

    photo = (HERE.parent / "examples" / "blood-cells" / "images" / "BloodImage_00000.jpg").read_bytes()
    began = time.process_time()
    for _ in range(100):
        decode_image(photo, "photo")
    decode = (time.process_time() - began) / 100
    count, run = 200_000, RunFolder(folder / "costs")
    run.blocks.mkdir(parents=True)

    def plan() -> list[Entry]:
        names = (f"/data/photographs/{number // 1000:05d}/{number:012d}.jpg" for number in range(count))
        entries = [Entry(name) for name in names]
        make_plan(run, {"block": 256}, {}, entries)
        return entries

    began = time.process_time()
    entries = plan()
    planning = time.process_time() - began
    tracemalloc.start()
    plan()
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    random = np.random.default_rng(0)
    detections = {"labels": [3] * 12, "category_ids": [4] * 12}
    scores = random.random((256, 12)).astype(np.float32).tolist()
    boxes = (random.random((256, 12, 4)) * 640).astype(np.float32).tolist()
    rows = [
        {**detections, "path": entries[n].name, "sha256": digest(b"%d" % n), "boxes": boxes[n], "scores": scores[n]}
        for n in range(256)
    ]
    began = time.perf_counter()
    for number in range(20):
        run.write_block(number, table_of(rows, "0" * 64, {"det-ray": "0.2.0"}), {})
    commit = (time.perf_counter() - began) / 20
    return {
        "decode_ms_640x480": 1000 * decode,
        "plan_s_per_million": planning * 1e6 / count,
        "plan_peak_bytes_per_image": memory / count,
        "plan_file_bytes_per_image": (run.path / "plan.parquet").stat().st_size / count,
        "commit_ms_per_block_of_256": 1000 * commit,
        "result_bytes_per_image_of_12_objects": run.block(0).stat().st_size / 256,
    }


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
        costs = other_costs(folder)
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
        "other_costs": costs,
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
