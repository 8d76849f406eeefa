"""What the training loop costs beside a bare forward, backward and step, and what a second process gains.

A small RetinaNet on images of noise, all threads restricted to one: a bare loop over batches that are ready, the same
through `train`, and `train` on two processes with twice the images per step, each on a core of its own. The loop's
overhead is the difference of processor times per step; the gain is images per second of two processes over one.
Run it: python benchmarks/loop.py [STEPS]
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from det_core.engine import read_scalars, train
from det_core.recipes import Recipe, recipe_from_tree
from det_core.structures import Sample, Targets

RESULTS = Path(__file__).parent / "results" / "loop.json"


class Noise:
    """Images of noise with two objects each; made once, so that nothing is waited for."""

    evaluators = ()
    classes = ("a", "b")

    def __init__(self, length: int = 16) -> None:
        torch.manual_seed(0)
        targets = Targets(boxes=torch.tensor([[20.0, 20, 90, 90], [100.0, 50, 180, 160]]), labels=torch.tensor([0, 1]))
        pixels = torch.randint(0, 256, (length, 3, 256, 256), dtype=torch.uint8)
        self.samples = [Sample(image=image, targets=targets, id=number) for number, image in enumerate(pixels)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def recipe(steps: int, batch_size: int) -> Recipe:
    """A small RetinaNet on noise."""
    bottom_up = {"type": "torchvision", "name": "mobilenet_v3_small", "strides": [8, 16, 32], "freeze_at": 0}
    model = {
        "type": "dense_detector",
        "num_classes": 2,
        "backbone": {"type": "fpn", "out_channels": 64, "bottom_up": bottom_up},
        "head": {"type": "retinanet_head", "conv_dims": [-1, -1]},
    }
    section = {
        "steps": steps,
        "batch_size": batch_size,
        "optimizer": {"type": "torch.optim:SGD", "lr": 0.001, "momentum": 0.9},
        "schedule": {"type": "det_core.engine:WarmupCosine", "warmup": 5},
        "log_every": 10,
        "checkpoint_every": None,
        "device": "cpu",
    }
    data = {"train": {"type": "__main__:Noise"}, "workers": 0}
    return recipe_from_tree({"model": model, "data": data, "train": section}, "a benchmark")


def bare(steps: int, batch_size: int) -> float:
    """Processor seconds per step of a loop with nothing around it."""
    built = recipe(steps, batch_size)
    settings, data = built.build("train"), built.build("data")
    torch.manual_seed(0)
    model = built.build_model().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, fused=True)
    batches = iter(data.train_loader(batch_size, settings.seed))
    began = 0.0
    for step in range(steps):
        if step == 5:
            began = time.process_time()
        batch = next(batches)
        total = sum(model(batch.images, batch.targets).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return (time.process_time() - began) / (steps - 5)


class Clock:
    """A callback: the processor time per step, between the fifth and the last."""

    def after_step(self, trainer: Any, scalars: Any) -> None:
        """Note the time."""
        if trainer.step == 5:
            self.began = time.process_time()
        self.seconds = (time.process_time() - getattr(self, "began", 0.0)) / max(trainer.step - 5, 1)


def through_train(steps: int, batch_size: int, folder: Path) -> tuple[float, float]:
    """Processor seconds per step of `train`, and images per second over all processes."""
    clock = Clock()
    train(recipe(steps, batch_size), folder, callbacks=[clock])
    rows = [row for row in read_scalars(folder / "scalars.jsonl") if row["step"] > 10] if not _rank() else []
    speeds = [row["images_per_second"] for row in rows if "images_per_second" in row]
    return clock.seconds, sum(speeds) / max(len(speeds), 1)


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def main(steps: int = 40) -> None:
    """Measure and write the figures."""
    torch.set_num_threads(1)
    if "WORLD_SIZE" in os.environ:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[_rank()]})
        print(json.dumps(through_train(steps, 8, Path(sys.argv[2]))))
        return
    ratios, one = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            seconds, speed = through_train(steps, 4, Path(folder))
        ratios.append(seconds / bare(steps, 4))
        one.append(speed)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
        subprocess.run([*command, str(steps), folder], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        rows = [row for row in read_scalars(Path(folder) / "scalars.jsonl") if row["step"] > 10]
    two = sum(row["images_per_second"] for row in rows) / len(rows)
    found = {
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "loop_over_bare": [round(ratio, 4) for ratio in ratios],
        "two_processes_over_one": round(two / max(one), 3),
        "load": os.getloadavg(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
