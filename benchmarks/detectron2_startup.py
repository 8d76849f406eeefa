"""How long programs for Detectron2 take to import det's layer, beyond torch and torchvision.

Each run is a new interpreter that imports torch and torchvision, then the layer, then what a usual program imports of
it. The figures are medians of processor time, so that what else the machine does hardly counts.
Run it with: python benchmarks/detectron2_startup.py [RUNS]
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json
from time import process_time
marks = [process_time()]
import torch, torchvision
marks.append(process_time())
import det_detectron2.as_detectron2, detectron2
marks.append(process_time())
from detectron2 import model_zoo
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog, build_detection_test_loader
from detectron2.data.datasets import register_coco_instances
from detectron2.engine import DefaultPredictor, DefaultTrainer
from detectron2.evaluation import COCOEvaluator
from detectron2.utils.logger import setup_logger
from detectron2.utils.visualizer import Visualizer
marks.append(process_time())
print(json.dumps(marks))
"""
PARTS = ("torch and torchvision", "import detectron2", "the imports of a program")
LIMIT = 0.2
RESULTS = Path(__file__).parent / "results" / "detectron2_startup.json"


def measure(runs: int) -> dict[str, list[float]]:
    """Seconds of processor time of each part; a first run, which fills the caches, is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in PARTS}
    for turn in range(runs + 1):
        done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
        marks = json.loads(done.stdout)
        for name, start, end in zip(PARTS, marks[:-1], marks[1:], strict=True):
            if turn:
                seconds[name].append(end - start)
    return seconds


def main() -> int:
    """Measure, print a table, write the figures; 1 if the layer takes too long."""
    seconds = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    layer = sum(medians[name] for name in PARTS[1:])
    for name, median in medians.items():
        print(f"{name:26}{median * 1e3:8.0f} ms")
    print(f"{'the layer, both':26}{layer * 1e3:8.0f} ms   (at most {LIMIT * 1e3:.0f})")
    figures = {
        "milliseconds": {name: round(median * 1e3) for name, median in medians.items()},
        "layer": round(layer * 1e3),
        "limit": LIMIT * 1e3,
        "runs": len(seconds[PARTS[0]]),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
    }
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
    return int(layer > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
