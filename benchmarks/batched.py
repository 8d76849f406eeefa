"""Eight photographs in one call, beside eight calls: time, memory, and whether they say the same.

The model is our Mask R-CNN (R50-FPN) of `inference.py`. Photographs are of one size, or of several, which are padded.
Processor time is what all threads take together, which other programs disturb less.
Run it: python benchmarks/batched.py [RUNS [SIDE]]
"""

import json
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from _pair import CLASSES, measured, ours, pictures
from det_core import Detector
from det_core.ops import boxes as box_ops
from det_core.predict.result import Result
from torch import Tensor
from torch.nn import functional as F

RESULTS = Path(__file__).parent / "results" / "batched.json"
COUNT = 8


def agreement(alone: Sequence[Result], together: Sequence[Result]) -> float:
    """The share of what is found in each photograph alone that is found in the batch too."""
    same, all_of_them = 0, 0
    for one, other in zip(alone, together, strict=True):
        a, b = one.detections, other.detections
        matches = (box_ops.iou(a.boxes, b.boxes) > 0.95) & (a.labels[:, None] == b.labels)
        same, all_of_them = same + int(matches.any(1).sum()), all_of_them + len(a)
    return same / max(all_of_them, 1)


def sized(images: Sequence[Tensor], sides: Sequence[int]) -> list[Tensor]:
    """The photographs with these heights."""
    found = []
    for image, side in zip(images, sides, strict=True):
        size = (side, round(side * image.shape[2] / image.shape[1]))
        found.append(F.interpolate(image[None].float(), size, mode="bilinear", antialias=True)[0].to(torch.uint8))
    return found


def row(detector: Detector, images: Sequence[Tensor], runs: int) -> dict[str, float]:
    """Both ways in turn."""
    ways = {
        "alone": lambda: [detector(image, threshold=0.05) for image in images],
        "together": lambda: detector(images, threshold=0.05, batch_size=COUNT),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    held: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[Result]] = {}
    for _ in range(runs):
        for name, call in ways.items():
            start = time.process_time()
            _, peak = measured(lambda name=name, call=call: found.update({name: call()}))
            spent[name].append(time.process_time() - start)
            held[name].append(peak)
    alone, together = (statistics.median(spent[name]) for name in ("alone", "together"))
    return {
        "alone, processor s": round(alone, 2),
        "together, processor s": round(together, 2),
        "times as fast": round(alone / together, 2),
        "alone, MB": round(max(held["alone"])),
        "together, MB": round(max(held["together"])),
        "found by both": round(agreement(found["alone"], found["together"]), 3),
    }


def main() -> None:
    """Measure, print a table, write the figures."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    side = int(sys.argv[2]) if len(sys.argv) > 2 else 800
    detector = Detector(ours(), [str(label) for label in range(CLASSES)], device="cpu")
    images = pictures(COUNT)
    sides = {"one size": [side] * COUNT, "several sizes": [side - side // 50 * number for number in range(COUNT)]}
    rows = {name: row(detector, sized(images, each), runs) for name, each in sides.items()}
    for name, each in rows.items():
        print(f"{name:16}" + "   ".join(f"{label} {value:g}" for label, value in each.items()))
    figures = {
        **rows,
        "side": side,
        "runs": runs,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
