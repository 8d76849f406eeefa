"""Mask R-CNN (R50-FPN) on a CUDA GPU: agreement with the CPU, and the latency of a photograph of 800 x 1333.

In float32 (without TF32), in half precision, with the networks compiled by `torch.compile`, and with their CUDA graphs.
A call is from pixels on the GPU to detections on the GPU, with masks within their boxes. Published for Detectron2 on a
V100: 43 ms. Without a GPU it says so and measures nothing.
Run it: python benchmarks/gpu.py [RUNS]
"""

import copy
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _pair import ours, pictures
from det_core.ops import boxes as box_ops
from det_core.predict import optimize
from det_core.structures import Detections, ImageBatch
from torch import nn
from torch.nn import functional as F

RESULTS = Path(__file__).parent / "results" / "gpu.json"
SIZE = (800, 1333)
NETWORKS = ("backbone", "proposal_generator.rpn_head", "roi_heads.box_head")


def photograph() -> ImageBatch:
    """The first one, at the size that is measured."""
    image = F.interpolate(pictures(1)[0][None].float(), SIZE, mode="bilinear", antialias=True)[0]
    return ImageBatch.stack([image.round().to(torch.uint8)])


class InPrecision(nn.Module):
    """Predicts under autocast, or just so."""

    def __init__(self, model: nn.Module, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, batch: ImageBatch) -> Detections:
        """What is found in the first image."""
        with torch.autocast("cuda", self.dtype or torch.float16, enabled=self.dtype is not None):
            [prediction] = self.model(batch)
        found: Detections = prediction.detections
        return found


def compiled(model: nn.Module, mode: str) -> nn.Module:
    """A copy whose networks `torch.compile` translates; "reduce-overhead" records CUDA graphs of them."""
    model = copy.deepcopy(model)
    for name in NETWORKS:
        # Graphs are bound to one shape: the box head sees as many regions as there are proposals, here always 1000.
        model.get_submodule(name).compile(mode=mode, dynamic=False)
    return model


def variants(model: nn.Module) -> dict[str, Callable[[], nn.Module]]:
    """Name -> maker of what is measured."""
    folded = optimize(model, channels_last=False)
    return {
        "fp32": lambda: InPrecision(model, None),
        "fp32, optimised": lambda: InPrecision(folded, None),
        "fp16": lambda: InPrecision(model, torch.float16),
        "fp16, optimised": lambda: InPrecision(optimize(model), torch.float16),
        "bf16, optimised": lambda: InPrecision(optimize(model), torch.bfloat16),
        "fp32, compiled": lambda: InPrecision(compiled(folded, "default"), None),
        "fp16, compiled": lambda: InPrecision(compiled(optimize(model), "default"), torch.float16),
        "fp16, CUDA graphs": lambda: InPrecision(compiled(optimize(model), "reduce-overhead"), torch.float16),
    }


def latency(model: nn.Module, batch: ImageBatch, runs: int) -> tuple[float, float, Detections]:
    """Median milliseconds of a call, the most megabytes that it held beyond what was held, and what was found."""
    for _ in range(5):
        found = model(batch)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before, spent = torch.cuda.memory_allocated(), []
    for _ in range(runs):
        start = time.perf_counter()
        found = model(batch)
        torch.cuda.synchronize()
        spent.append(1e3 * (time.perf_counter() - start))
    return statistics.median(spent), (torch.cuda.max_memory_allocated() - before) / 2**20, found.to("cpu")


def agreement(found: Detections, expected: Detections) -> float:
    """The share of the CPU's detections that are found: same label, overlap above 0.9."""
    same = expected.labels[:, None] == found.labels
    return ((box_ops.iou(expected.boxes, found.boxes) > 0.9) & same).any(1).float().mean().item()


@torch.no_grad()
def main() -> None:
    """Measure, print a table, write the figures; on a machine without a GPU say so."""
    if not torch.cuda.is_available():
        print(f"skipped: torch {torch.__version__} finds no CUDA GPU")
        return
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model, batch = ours(), photograph()
    [prediction] = model(batch)
    expected, seen = prediction.detections, batch.to("cuda")
    rows: dict[str, dict[str, float]] = {}
    for name, make in variants(model.cuda()).items():
        milliseconds, megabytes, found = latency(make(), seen, runs)
        rows[name] = {
            "ms": round(milliseconds, 1),
            "MB": round(megabytes),
            "found of the CPU's": round(agreement(found, expected), 3),
        }
        print(f"{name:20}{rows[name]}", flush=True)
    figures = {
        "variants": rows,
        "size": SIZE,
        "runs": runs,
        "gpu": torch.cuda.get_device_name(),
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
