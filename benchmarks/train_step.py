"""How long a training step of our Mask R-CNN (R50-FPN) takes beside torchvision's, and how much memory.

Both have the same weights, settings and photographs of 800 x 1216, with the boxes of the blood cells and an ellipse in
each as its mask. A step is the losses, their gradients and SGD with momentum, which each library builds as its own
training does; "det, plain" is without `det_core.models.cpu_acceleration`, which `det train` installs, and "det, bf16"
as `train.precision: bf16` has it, where the processor computes in bfloat16. They take turns;
times are medians, those of the processor of all threads together, which other programs disturb less. Memory is what a
step holds at most beyond the models and their momentum.
Run it: python benchmarks/train_step.py [RUNS [IMAGES]]
"""

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from _pair import FOLDER, SIZE, measured, ours, resize, theirs
from det_core.data import CocoDataset
from det_core.engine.optim import ParamGroups, build_optimizer
from det_core.models.cpu_acceleration import accelerate
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Targets
from det_inspect.speed.trial import computes_in_bf16
from torch import Tensor, nn

RESULTS = Path(__file__).parent / "results" / "train_step.json"
OTHER, OURS, PLAIN, BF16 = "torchvision", "det", "det, plain", "det, bf16"


def photographs(count: int) -> tuple[list[Tensor], list[Targets]]:
    """The first ones with annotations, and their objects, in the pixels that both models see."""
    dataset = CocoDataset(FOLDER / "images", FOLDER / "instances_train.json")
    images, targets = [], []
    for sample in map(dataset.__getitem__, range(count)):
        assert sample.targets is not None
        height, width = sample.size
        boxes = sample.targets.boxes * torch.tensor([SIZE[1] / width, SIZE[0] / height] * 2)
        images.append(resize(sample.image))
        targets.append(Targets(boxes=boxes, labels=sample.targets.labels, masks=ellipses(boxes)))
    return images, targets


def ellipses(boxes: Tensor) -> Tensor:
    """The ellipse in each box: bool (N, height, width)."""
    x, y = torch.arange(SIZE[1]) + 0.5, torch.arange(SIZE[0]) + 0.5
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    across = ((x - centre[:, :1]) / half[:, :1]) ** 2
    down = ((y - centre[:, 1:]) / half[:, 1:]) ** 2
    return across[:, None] + down[:, :, None] <= 1


def steps(images: list[Tensor], targets: list[Targets]) -> dict[str, Callable[[], float]]:
    """Name -> a training step that returns its loss."""
    model, fast = ours(), accelerate(ours())
    other = theirs(model)
    batch = ImageBatch.stack(images)
    floats = [image / 255 for image in images]
    theirs_too = [
        {"boxes": t.boxes, "labels": t.labels + 1, "masks": t.masks.to(torch.uint8)}  # type: ignore[union-attr]
        for t in targets
    ]
    # A rate of zero: the weights do not move, so that each step has the same work to do.
    sgd = Factory(torch.optim.SGD, lr=0.0, momentum=0.9, weight_decay=1e-4)
    trained = [parameter for parameter in other.parameters() if parameter.requires_grad]
    calls = {
        OTHER: stepper(other, sgd(params=trained), lambda: other(floats, theirs_too)),
        OURS: stepper(fast, build_optimizer(sgd, fast, ParamGroups()), lambda: fast(batch, targets)),
        PLAIN: stepper(model, build_optimizer(sgd, model, ParamGroups()), lambda: model(batch, targets)),
    }
    if computes_in_bf16(batch.pixels.device):

        def half_losses() -> dict[str, Tensor]:
            with torch.autocast("cpu", torch.bfloat16):
                losses: dict[str, Tensor] = fast(batch, targets)
            return losses

        calls[BF16] = stepper(fast, build_optimizer(sgd, fast, ParamGroups()), half_losses)
    return calls


def stepper(
    model: nn.Module, optimizer: torch.optim.Optimizer, losses: Callable[[], dict[str, Tensor]]
) -> Callable[[], float]:
    """A step that returns its loss."""
    model.train()

    def step() -> float:
        loss = sum(losses().values())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def main() -> None:
    """Measure, print a table, write the figures."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    calls = steps(*photographs(count))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    processor: dict[str, list[float]] = {name: [] for name in calls}
    peaks: dict[str, list[float]] = {name: [] for name in calls}
    losses = {name: call() for name, call in calls.items()}  # momentum is made in the first step
    for _ in range(runs):
        for name, call in calls.items():
            start = time.process_time()
            spent, held = measured(call)
            processor[name].append(time.process_time() - start)
            seconds[name].append(spent)
            peaks[name].append(held)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    busy = {name: statistics.median(times) for name, times in processor.items()}
    memory = {name: round(max(each)) for name, each in peaks.items()}
    print(f"{'':16}{'time':>10}{'times as fast':>15}{'by processor':>14}{'memory':>11}{'share':>8}{'loss':>8}")
    for name in calls:
        ratios = f"{medians[OTHER] / medians[name]:15.2f}{busy[OTHER] / busy[name]:14.2f}"
        row = f"{medians[name] * 1e3:8.0f} ms{ratios}{memory[name]:8} MB"
        print(f"{name:16}{row}{memory[name] / memory[OTHER]:8.0%}{losses[name]:8.3f}")
    figures = {
        "milliseconds": {name: round(median * 1e3) for name, median in medians.items()},
        "times as fast": {name: round(medians[OTHER] / median, 2) for name, median in medians.items()},
        "processor seconds": {name: round(each, 2) for name, each in busy.items()},
        "times as fast by processor time": {name: round(busy[OTHER] / each, 2) for name, each in busy.items()},
        "peak MB": memory,
        "share of memory": {name: round(memory[name] / memory[OTHER], 2) for name in calls},
        "images": count,
        "runs": runs,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "python": platform.python_version(),
    }
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
