"""How fast the training loader is, and what it costs to hold an index of COCO's size in memory.

Photographs a second: read, mirrored and resized to a shorter side of 800; Pillow reading the files, and nothing else,
stands beside it; then the loader with none, one and two workers. Memory: an annotation file as large as that of COCO's
118,287 training images is made up, and loaded by processes of their own that read from it with one and with four
workers, started by fork and by spawn; what they take together is told in proportional set size, which counts a page
that n processes share as the n-th part of it in each (Linux).

Run it: python benchmarks/loader.py [--images 80] [--index 118287]
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from det_core.data import CocoDataset, ResizeShortestEdge, TrainLoader
from PIL import Image
from torchvision.transforms import v2

RESULTS = Path(__file__).parent / "results" / "loader.json"
FOLDER = Path(__file__).parent.parent / "examples" / "blood-cells"
BATCH = 4
OBJECTS_PER_IMAGE = 860_001 / 118_287


def read(count: int) -> None:
    """Decode that many files."""
    for path in islice(sorted((FOLDER / "images").glob("*.jpg")), count):
        Image.open(path).load()


def load(count: int, workers: int) -> None:
    """Take that many images from the loader."""
    dataset = CocoDataset(FOLDER / "images", FOLDER / "instances_train.json")
    transforms = [v2.RandomHorizontalFlip(), ResizeShortestEdge([800], 1333)]
    batches = iter(TrainLoader(dataset=dataset, batch_size=BATCH, transforms=transforms, workers=workers))
    for _ in range(count // BATCH):
        next(batches)


def rates(count: int) -> dict[str, float]:
    """Images a second of each."""
    calls: dict[str, Callable[[], None]] = {"Pillow": lambda: read(count)}
    calls |= {f"{workers} workers": lambda workers=workers: load(count, workers) for workers in (0, 1, 2)}
    read(count)
    found = {}
    for name, call in calls.items():
        start = time.perf_counter()
        call()
        found[name] = round(count / (time.perf_counter() - start), 1)
        print(f"{name:12}{found[name]:8.1f} images/s", flush=True)
    return found


def write_index(path: Path, images: int) -> int:
    """Write a file like COCO's, with boxes and outlines of ten corners; returns the number of objects.

    Every entry names the same photograph, which costs as much memory as different ones.
    """
    draw = random.Random(0)
    objects = round(images * OBJECTS_PER_IMAGE)
    with path.open("w") as file:
        file.write('{"categories": ' + json.dumps([{"id": n, "name": f"class {n}"} for n in range(1, 81)]))
        entry = {"file_name": "BloodImage_00000.jpg", "height": 480, "width": 640}
        file.write(', "images": ' + json.dumps([{"id": n, **entry} for n in range(1, images + 1)]))
        file.write(', "annotations": [')
        for n in range(1, objects + 1):
            x, y = draw.uniform(0, 500), draw.uniform(0, 400)
            corners = [round(draw.uniform(0, 60), 2) + start for _ in range(10) for start in (int(x), int(y))]
            record = {"id": n, "image_id": draw.randint(1, images), "category_id": draw.randint(1, 80), "iscrowd": 0}
            record |= {"bbox": [round(x, 2), round(y, 2), 60.5, 60.5], "area": 1800.5, "segmentation": [corners]}
            file.write((", " if n > 1 else "") + json.dumps(record))
        file.write("]}")
    return objects


def proportional(process: int) -> float:
    """The proportional set size of a process, in MB."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no Pss")


def hold(index: Path, workers: int, method: str) -> None:
    """In a process of its own: load the index, read from it, and print seconds and memory as JSON."""
    multiprocessing.set_start_method(method)
    torch.set_num_threads(1)
    before = proportional(os.getpid())
    start = time.perf_counter()
    dataset = CocoDataset(FOLDER / "images", index, masks="polygons")
    seconds = time.perf_counter() - start
    loaded = proportional(os.getpid())
    batches = iter(TrainLoader(dataset=dataset, batch_size=BATCH, workers=workers))
    for _ in range(6 * workers):
        next(batches)
    start = time.perf_counter()
    for _ in range(10):
        next(batches)
    rate = 10 * BATCH / (time.perf_counter() - start)
    family = [os.getpid(), *(child.pid for child in multiprocessing.active_children() if child.pid)]
    sizes = [proportional(process) for process in family]
    figures = {"seconds to load": seconds, "MB of the index": loaded - before, "MB together": sum(sizes)}
    print(json.dumps(figures | {"MB of workers": sum(sizes[1:]), "images/s": rate}))


def memory(images: int, methods: Sequence[str]) -> dict[str, Any]:
    """What one worker and four take, by how they are started."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "instances.json"
        figures |= {"images": images, "objects": write_index(index, images)}
        figures["MB of the file"] = round(index.stat().st_size / 2**20)
        for method in methods:
            for workers in (1, 4):
                command = [sys.executable, __file__, "--hold", str(index), str(workers), method]
                told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                figures[f"{workers} by {method}"] = {name: round(value, 1) for name, value in told.items()}
                print(f"{workers} workers by {method}: {figures[f'{workers} by {method}']}", flush=True)
            one, four = (figures[f"{workers} by {method}"]["MB together"] for workers in (1, 4))
            figures[f"four beside one by {method}"] = round(four / one, 2)
            print(f"four beside one by {method}: {four / one:.2f}", flush=True)
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write the figures."""
    parser = argparse.ArgumentParser(description="Speed and memory of the loader.")
    parser.add_argument("--images", type=int, default=80, help="photographs to read")
    parser.add_argument("--index", type=int, default=118_287, help="images of the made-up index; 0 leaves it out")
    parser.add_argument("--start", nargs="+", default=["fork", "spawn"], help="how workers are started")
    parser.add_argument("--hold", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.hold:
        hold(Path(given.hold[0]), int(given.hold[1]), given.hold[2])
        return
    figures = {
        "images per second": rates(given.images),
        "images": given.images,
        "index": memory(given.index, given.start) if given.index else None,
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
