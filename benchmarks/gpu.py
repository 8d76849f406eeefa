"""A CUDA GPU in eight minutes: agreement with the CPU, latency, synchronizations, and training speed.

    python benchmarks/gpu.py [--seconds 480]

Agreement: models of every kind with random weights, in float32 without TF32, on the GPU and on the CPU. Latency: Mask
R-CNN (R50-FPN) on a photograph of 800 x 1333, in float32, in half precision, with the networks compiled by
`torch.compile`, and with their CUDA graphs; a call is from pixels on the GPU to detections on the GPU, with masks
within their boxes. Published for Detectron2 on a V100: 43 ms; the aim is 6 ms on an H200. Synchronizations: how often
a call waits for the GPU. Training: the variants of `gpu_training.py` on 16 images.

Each result is written at once; what the time does not suffice for is named. It needs the installed packages and this
repository, no network and no data. Without a GPU nothing is measured; `--device cpu --small` tries the program itself.
"""

import argparse
import copy
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu_training
import torch
from _images import batch_of
from _pair import ours
from det_core import recipes
from det_core.models.cpu_acceleration import accelerate
from det_core.predict import Result, optimize
from det_core.structures import Detections, ImageBatch
from det_export.check import shipped
from det_inspect.speed.agreement import agreement_of
from det_inspect.speed.child import predicted
from models import MODELS, narrow_models
from torch import nn

RESULTS = Path(__file__).parent / "results" / "gpu.json"
NETWORKS = ("backbone", "proposal_generator.rpn_head", "roi_heads.box_head")
SHARE = {"agreement": 0.3, "latency": 0.65, "training": 1.0}
"""Part -> the share of the seconds after which it starts nothing more."""


class Results:
    """The figures so far, and the time."""

    def __init__(self, path: Path, seconds: float, about: dict[str, Any]) -> None:
        self.path, self.seconds, self.start = path, seconds, time.monotonic()
        self.content: dict[str, Any] = {"about": about, "left out": []}

    def measure(self, part: str, name: str, make: Callable[[], dict[str, Any]]) -> None:
        """One row, unless the time of its part is over; an error stands in its place."""
        if time.monotonic() - self.start > SHARE[part] * self.seconds:
            self.content["left out"].append(f"{part}: {name}")
        else:
            try:
                row = make()
            except Exception as error:  # of any library: the other rows go on
                row = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
            self.content.setdefault(part, {})[name] = row
            print(f"{part:10} {name:32} {row}", flush=True)
        self.path.write_text(json.dumps(self.content, indent=2) + "\n", "utf-8")


@torch.no_grad()
def agreement(recipe: str, size: tuple[int, int], device: torch.device) -> dict[str, Any]:
    """The share of the CPU's detections, or pixels, that the device predicts too, with the largest differences."""
    torch.manual_seed(0)
    model = recipes.load(recipe).build_model().eval()
    narrow_models.spread(model, size)
    batch = batch_of(shipped()[0], size)
    [expected] = accelerate(model, on=False)(batch)
    [actual] = model.to(device)(batch.to(device))
    one, other = (predicted(Result(batch.pixels[0], each, (), ())).to("cpu") for each in (expected, actual))
    row = agreement_of([one], [other])
    return {"matched": round(row.matched, 4), "boxes, px": row.boxes, "scores": row.scores, "detections": len(one)}


def variants(model: nn.Module) -> dict[str, tuple[Callable[[], nn.Module], torch.dtype | None]]:
    """Name -> maker of what is measured, and the type of its autocast."""
    folded = optimize(model, channels_last=False)
    return {
        "fp32": (lambda: model, None),
        "fp32, optimized": (lambda: folded, None),
        "fp16, optimized": (lambda: optimize(model), torch.float16),
        "bf16, optimized": (lambda: optimize(model), torch.bfloat16),
        "fp16, CUDA graphs": (lambda: compiled(optimize(model), "reduce-overhead"), torch.float16),
        "fp16, compiled": (lambda: compiled(optimize(model), "default"), torch.float16),
        "fp32, compiled": (lambda: compiled(folded, "default"), None),
        "fp16": (lambda: model, torch.float16),
    }


def compiled(model: nn.Module, mode: str) -> nn.Module:
    """A copy whose networks `torch.compile` translates; "reduce-overhead" records CUDA graphs of them."""
    model = copy.deepcopy(model)
    for name in NETWORKS:
        # Graphs are bound to one shape: the box head always gets 1000 regions here.
        model.get_submodule(name).compile(mode=mode, dynamic=False)
    return model


@torch.no_grad()
def latency(
    make: Callable[[], nn.Module], dtype: torch.dtype | None, batch: ImageBatch, expected: Detections, runs: int
) -> dict[str, float]:
    """Median milliseconds of a call, its memory, its synchronizations, and the share of the CPU's detections."""
    model, device = make(), batch.pixels.device

    def call() -> Detections:
        with torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            [prediction] = model(batch)
        if device.type == "cuda":
            torch.cuda.synchronize()
        detections: Detections = prediction.detections
        return detections

    for _ in range(min(runs, 5)):
        detections = call()
    row = {"synchronizations": synchronizations(lambda: model(batch)), "MB": 0}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    if device.type == "cuda":
        row["MB"] = round((torch.cuda.max_memory_allocated() - before) / 2**20)
    matched = agreement_of([expected], [detections.to("cpu")]).matched
    return {"ms": round(statistics.median(times), 2), **row, "matched": round(matched, 3)}


def synchronizations(call: Callable[[], object]) -> int:
    """Operations of a call for which the CPU waits for the GPU."""
    if not torch.cuda.is_available():
        return 0
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            call()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(each.message) for each in raised)


def main() -> None:
    """Measure what the time allows; on a machine without a GPU nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="small pictures, two runs: tries the program itself")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print(f"skipped: torch {torch.__version__} finds no CUDA GPU")
        return
    device, small = torch.device(arguments.device), arguments.small
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    about = {"device": name, "torch": torch.__version__, "python": platform.python_version(), "small": small}
    results = Results(arguments.output, arguments.seconds, about)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for recipe, size in MODELS.items():
        few = (128, 192) if small else (size[0] // 2, size[1] // 2)
        results.measure("agreement", recipe, lambda recipe=recipe, few=few: agreement(recipe, few, device))
    model = ours()
    batch = batch_of(shipped()[0], (160, 256) if small else (800, 1333))
    with torch.no_grad():
        [prediction] = model(batch)
    moved = batch.to(device)
    for name, (make, dtype) in variants(model.to(device)).items():
        runs = 2 if small else arguments.runs
        row = (make, dtype, moved, prediction.detections, runs)
        results.measure("latency", name, lambda row=row: latency(*row))
    examples = gpu_training.batch(*((1, 64, 96) if small else (16, 800, 1333)))
    for name in gpu_training.VARIANTS:
        steps = 1 if small else 20
        results.measure("training", name, lambda n=name, steps=steps: gpu_training.measure(n, examples, device, steps))


if __name__ == "__main__":
    main()
