"""How many photographs a second the training loader reads, mirrors and resizes to a shorter side of 800.

Pillow reading the files, and nothing else, stands beside it; then the loader with none, one and two workers.
Run it: python benchmarks/loader.py [IMAGES]
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch
from det_core.data import CocoDataset, ResizeShortestEdge, TrainLoader
from PIL import Image
from torchvision.transforms import v2

RESULTS = Path(__file__).parent / "results" / "loader.json"
FOLDER = Path(__file__).parent.parent / "examples" / "blood-cells"
BATCH = 4


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


def main() -> None:
    """Measure, print a table, write the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 80
    calls: dict[str, Callable[[], None]] = {"Pillow": lambda: read(count)}
    calls |= {f"{workers} workers": lambda workers=workers: load(count, workers) for workers in (0, 1, 2)}
    read(count)
    rates = {}
    for name, call in calls.items():
        start = time.perf_counter()
        call()
        rates[name] = round(count / (time.perf_counter() - start), 1)
        print(f"{name:12}{rates[name]:8.1f} images/s", flush=True)
    figures = {
        "images per second": rates,
        "images": count,
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
