"""How many images per second Mask R-CNN (R50-FPN) trains on, and in how much memory, on a CUDA GPU.

Sixteen images of 800 x 1333 with seven objects each, the same in every step, through the step of `train`: forward,
backward, the norm of the gradient, SGD. In float32, in TF32, in bf16, with channels last, and with the networks
compiled. Detectron2 publishes 62 images per second on eight V100; the aim is 100 on one H200. Each variant is
written when it is measured, so that a run cut short leaves the others. Run it: python benchmarks/gpu_training.py
[--steps 20]; --device cpu --side 64 --images 1 tries the program itself where there is no GPU.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import torch
from det_core import recipes
from det_core.data import Batch
from det_core.engine import Train
from det_core.engine.parallel import Parallel, Processes
from det_core.engine.step import Step, prepare_model
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Targets

RESULTS = Path(__file__).parent / "results" / "gpu_training.json"
OBJECTS, CLASSES, WARM_UP = 7, 80, 5
VARIANTS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "TF32": {},
    "bf16": {"precision": "bf16"},
    "bf16, channels last": {"precision": "bf16", "channels_last": True},
    "bf16, channels last, compiled": {"precision": "bf16", "channels_last": True, "compile": True},
    "TF32, compiled": {"compile": True},
}


def batch(images: int, height: int, width: int) -> Batch:
    """Noise with boxes and the ellipses in them."""
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 3, height, width), generator=draw, dtype=torch.uint8)
    size = torch.tensor([width, height, width, height])
    rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
    targets = []
    for _ in range(images):
        center, side = torch.rand(OBJECTS, 2, generator=draw), 0.1 + 0.3 * torch.rand(OBJECTS, 2, generator=draw)
        boxes = torch.cat((center - side / 2, center + side / 2), 1).clamp(0, 1) * size
        middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        x, y = (
            ((columns - middle[:, 0, None]) / half[:, 0, None]),
            ((rows[:, 0] - middle[:, 1, None]) / half[:, 1, None]),
        )
        masks = x.square()[:, None] + y.square()[:, :, None] <= 1
        labels = torch.randint(0, CLASSES, (OBJECTS,), generator=draw)
        targets.append(Targets(boxes=boxes, labels=labels, masks=masks))
    numbers, sizes = tuple(range(images)), ((height, width),) * images
    return Batch(
        images=ImageBatch(pixels=pixels, sizes=sizes),
        targets=tuple(targets),
        ids=numbers,
        paths=(None,) * images,
        position=images,
        positions=numbers,
    )


def measure(name: str, examples: Batch, device: torch.device, steps: int) -> dict[str, float]:
    """Images per second, and GiB at the highest point, of one variant."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not name.startswith("fp32")
    torch.manual_seed(0)
    sgd = Factory(torch.optim.SGD, lr=1e-6, momentum=0.9, weight_decay=1e-4)
    settings = Train(steps=steps, batch_size=len(examples), optimizer=sgd, **VARIANTS[name])
    processes = Processes(Parallel(), device)
    model = prepare_model(recipes.load("mask_rcnn_r50_fpn_1x").build_model(), settings, device)
    step = Step(model, settings, device, processes)
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    began = 0.0
    for number in range(steps + WARM_UP):
        if number == WARM_UP:
            if cuda:
                torch.cuda.synchronize()
            began = time.perf_counter()
        step.gradients([examples])
        step.update()
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    memory = torch.cuda.max_memory_allocated() / 2**30 if cuda else float("nan")
    return {"images per second": round(steps * len(examples) / seconds, 2), "GiB": round(memory, 1)}


def main() -> None:
    """Measure, print a table, write the figures; on a machine without a GPU say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--side", type=int, default=800)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--only", nargs="*", choices=VARIANTS)
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print(f"skipped: torch {torch.__version__} finds no CUDA GPU")
        return
    device = torch.device(given.device)
    examples = batch(given.images, given.side, given.side * 1333 // 800)
    found: dict[str, Any] = {
        "about": {
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
            "images": given.images,
            "size": list(examples.images.pixels.shape[2:]),
            "steps": given.steps,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
    }
    for name in given.only or VARIANTS:
        found[name] = measure(name, examples, device, given.steps)
        print(f"{name:32}{found[name]}", flush=True)
        given.output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
