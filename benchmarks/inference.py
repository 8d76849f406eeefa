"""How long our Mask R-CNN (R50-FPN) takes for a photograph of 800 x 1216, beside torchvision's with the same weights.

Ours stands there plain and as `Detector.optimize` makes it, in bf16 where the processor has that. All take turns; the
figures are medians. Memory is what
a call holds at most beyond the models.
Run it: python benchmarks/inference.py [RUNS]
"""

import json
import platform
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from _pair import CLASSES, SIZE, measured, ours, pictures, theirs
from det_core import Detector
from det_core.ops import boxes as box_ops
from det_inspect.speed.trial import computes_in_bf16
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

RESULTS = Path(__file__).parent / "results" / "inference.json"
PLAIN, OTHER = "det", "torchvision"
OPTIONS = {"det, optimised": {}}
if computes_in_bf16(torch.device("cpu")):
    OPTIONS["det, optimised, bf16"] = {"precision": "bf16"}  # elsewhere it is emulated, ten times slower than float32
NAMES = [OTHER, PLAIN, *OPTIONS]
PARTS = {
    "convolutions": ("convolution", "addmm", "linear"),
    "batch norms and activations": ("addcmul", "relu", "rsqrt", "mul", "add", "sub", "div", "clamp"),
    "copies": ("copy", "cat", "index", "constant_pad", "fill", "gather", "upsample"),
    "ROIAlign": ("roi_align", "embedding_bag"),
    "suppression": ("nms", "sort", "topk"),
    "masks into the image": ("grid_sampler", "ge"),
}


def callers(names: list[str]) -> dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """Name -> function of a picture that gives boxes and labels, after masks at the picture's size."""
    model = ours()
    detector = Detector(model, [str(label) for label in range(CLASSES)], device="cpu")
    found: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {}
    for name in names:
        if name == OTHER:
            other = theirs(model)
            found[name] = lambda image, other=other: _torchvision(other, image)
        else:
            mine = detector.optimize(**OPTIONS[name]) if name in OPTIONS else detector
            found[name] = lambda image, mine=mine: _det(mine, image)
    return found


def _det(detector: Detector, image: Tensor) -> tuple[Tensor, Tensor]:
    result = detector(image, threshold=0.05)
    assert result.masks.stacked().shape[1:] == SIZE
    return result.detections.boxes, result.detections.labels


def _torchvision(model: torch.nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        [found] = model([image / 255])
    assert found["masks"].shape[2:] == SIZE
    return found["boxes"], found["labels"] - 1


def agreement(mine: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
    """The share of our detections that the other has too: same label, overlap above 0.9."""
    same = mine[1][:, None] == other[1]
    return ((box_ops.iou(mine[0], other[0]) > 0.9) & same).any(1).float().mean().item()


def parts(call: Callable[[Tensor], object], image: Tensor) -> dict[str, float]:
    """Where the time of a call goes, as shares of the processor time of all operations."""
    with profile(activities=[ProfilerActivity.CPU]) as run:
        call(image)
    spent = dict.fromkeys([*PARTS, "else"], 0.0)
    for event in run.key_averages():
        name = event.key.split("::")[-1]
        kinds = [part for part, words in PARTS.items() if any(word in name for word in words)]
        spent[kinds[0] if kinds else "else"] += event.self_cpu_time_total
    return {part: round(each / sum(spent.values()), 3) for part, each in spent.items()}


def main() -> None:
    """Measure, print a table, write the figures."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    images, calls = pictures(2), callers(NAMES)
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    peaks: dict[str, list[float]] = {name: [] for name in NAMES}
    outputs = {name: call(images[0]) for name, call in calls.items()}
    for turn in range(runs):
        for name, call in calls.items():
            spent, held = measured(lambda call=call, image=images[turn % 2]: call(image))
            seconds[name].append(spent)
            peaks[name].append(held)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    memory = {name: round(max(peaks[name])) for name in NAMES}
    print(f"{'':24}{'time':>10}{'times as fast':>15}{'memory':>10}{'found':>8}{'also there':>12}")
    same = {name: agreement(outputs[name], outputs[OTHER]) for name in NAMES}
    for name in NAMES:
        row = f"{medians[name] * 1e3:8.0f} ms{medians[OTHER] / medians[name]:15.2f}{memory[name]:7} MB"
        print(f"{name:24}{row}{len(outputs[name][0]):8}{same[name]:12.2f}")
    shares = parts(calls[PLAIN], images[0])
    print("\n".join(f"{part:30}{share:6.1%}" for part, share in shares.items()))
    figures = {
        "milliseconds": {name: round(median * 1e3) for name, median in medians.items()},
        "times as fast": {name: round(medians[OTHER] / median, 2) for name, median in medians.items()},
        "peak MB": memory,
        "found by both": {name: round(value, 2) for name, value in same.items()},
        "shares of the plain model": shares,
        "runs": runs,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "python": platform.python_version(),
    }
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
