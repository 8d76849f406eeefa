"""How long overlaps and suppression of 1000 rotated boxes take, as they are and through torch.compile.

Two kinds of boxes: spread over a photograph, where few meet, and crowded as proposals are before suppression. Upright
boxes of the same sizes stand beside them, and so do regions pooled by ROIAlign.
Run it: python benchmarks/rotated.py [RUNS]; on a GPU where there is one.
"""

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torchvision
from det_core.ops import boxes as box_ops
from det_core.ops import nms, rotated
from det_core.ops.roi_rotated import roi_align_rotated
from torch import Tensor

RESULTS = Path(__file__).parent / "results" / "rotated.json"
COUNT = 1000
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def boxes(extent: float) -> Tensor:
    """Rotated boxes with sides of 16 to 80 pixels, their centres within `extent` pixels."""
    random = torch.Generator().manual_seed(0)
    centres, sides = torch.rand(COUNT, 2, generator=random) * extent, 16 + 64 * torch.rand(COUNT, 2, generator=random)
    return torch.cat((centres, sides, 360 * torch.rand(COUNT, 1, generator=random) - 180), dim=1).to(DEVICE)


@contextmanager
def compiled() -> Iterator[None]:
    """The arithmetic of overlaps goes through torch.compile; what chooses the pairs stays as it is."""
    names = ("_iou_of_pairs", "_bound")
    before = {name: getattr(rotated, name) for name in names}
    for name, function in before.items():
        setattr(rotated, name, torch.compile(function, dynamic=True))
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(rotated, name, function)


def measure(function: Callable[[], object], runs: int) -> float:
    """The median of the seconds that a call takes, after two that are not counted."""
    seconds = []
    for turn in range(runs + 2):
        start = time.perf_counter()
        function()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        if turn >= 2:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def cases() -> dict[str, dict[str, Callable[[], object]]]:
    """Name -> what is measured: the upright counterpart, and the rotated one."""
    scores = torch.rand(COUNT, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    groups = torch.zeros(COUNT, dtype=torch.int64, device=DEVICE)
    found: dict[str, dict[str, Callable[[], object]]] = {}
    for kind, extent in (("spread", 1000.0), ("crowded", 100.0)):
        turned = boxes(extent)
        upright = torch.cat((turned[:, :2] - turned[:, 2:4] / 2, turned[:, :2] + turned[:, 2:4] / 2), dim=1)
        found[f"iou, {kind}"] = {
            "upright": lambda b=upright: box_ops.iou(b, b),
            "rotated": lambda b=turned: rotated.iou(b, b),
        }
        found[f"nms, {kind}"] = {
            "upright": lambda b=upright: nms.nms_by_group(b, scores, groups, 0.7),
            "rotated": lambda b=turned: rotated.nms_by_group(b, scores, groups, 0.7),
        }
    features = torch.randn(1, 256, 100, 100, device=DEVICE)
    rois = torch.cat((torch.zeros(COUNT, 1, device=DEVICE), boxes(400.0)), dim=1)[:100]
    level = torch.cat((rois[:, :1], rois[:, 1:3] - rois[:, 3:5] / 2, rois[:, 1:3] + rois[:, 3:5] / 2), dim=1)
    found["roi align of 100"] = {
        "upright": lambda: torchvision.ops.roi_align(features, level, 7, 0.25, 2, True),
        "rotated": lambda: roi_align_rotated(features, rois, (7, 7), 0.25, 2),
    }
    return found


def main() -> None:
    """Measure, print a table, write the figures."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    print(f"{COUNT} boxes, milliseconds{'':8}{'upright':>10}{'rotated':>10}{'compiled':>10}")
    table: dict[str, dict[str, float]] = {}
    for name, functions in cases().items():
        row = {kind: measure(function, runs) for kind, function in functions.items()}
        if not name.startswith("roi"):
            with compiled():
                row["compiled"] = measure(functions["rotated"], runs)
        table[name] = {kind: round(seconds * 1e3, 2) for kind, seconds in row.items()}
        print(f"{name:30}" + "".join(f"{value:10.2f}" for value in table[name].values()), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    figures = {
        "milliseconds": table,
        "boxes": COUNT,
        "runs": runs,
        "device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
