"""What the training loop costs, on real photographs, with Faster R-CNN (R50-FPN) at a small size.

* overhead: processor time of a step through `train` beside that of a bare loop over the same batches (forward,
  backward, optimizer), with and without the faster ways of computing on a CPU; each on one thread, in turn;
* data wait: the share of time that a training waits for its loader of two workers, at the recipe's sizes (640 to 800);
  the network is the smallest that torchvision has, so that batches are wanted quickly;
* processes: images per second of two processes under torchrun over those of one, each bound to a core of its own, on
  the blood cells, which are of one size: no process waits for a larger image of the other. Two trainings that know
  nothing of each other stand beside it: what two cores of this machine can do at all;
* checkpoint: how long a step with a checkpoint stands still.

The weights are random and the learning rate is next to nothing, so that each step has the same work. Run it:
OMP_NUM_THREADS=1 python benchmarks/loop.py [FOLDER OF COCO] [--steps 4] [--side 320] [--only PART]; without the folder
on the blood cells of examples/. Each part is written as soon as it is measured.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import torch
from det_core import recipes
from det_core.engine import read_scalars, train
from det_core.engine.step import prepare_model
from det_core.recipes import Recipe, recipe_from_tree

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "loop.json"
BLOOD_CELLS = ROOT / "examples" / "blood-cells"
IMAGES = 2
WARM_UP = 2
ROUNDS = 2
SIDE = 320
BEGAN = time.monotonic()


def say(text: str) -> None:
    """A line of progress, with the seconds since the start."""
    print(f"{time.monotonic() - BEGAN:5.0f} s  {text}", flush=True)


def dataset(folder: Path) -> dict[str, Any]:
    """The node of the training photographs in a folder of COCO, or in that of the blood cells."""
    if (folder / "train2017").is_dir():
        files = {"images": folder / "train2017", "annotations": folder / "annotations" / "instances_train2017.json"}
    else:
        files = {"images": folder / "images", "annotations": folder / "instances_train.json"}
    rest = {"bad_annotations": "skip", "keep_empty": False}
    return {"type": "coco", **{name: str(path.resolve()) for name, path in files.items()}, **rest}


def recipe(folder: Path, steps: int, batch_size: int = IMAGES, **settings: Any) -> Recipe:
    """Faster R-CNN from random weights on small images, without workers."""
    tree = dict(recipes.load("faster_rcnn_r50_fpn_1x").tree)
    resize = {"type": "det_core.data:ResizeShortestEdge", "size": SIDE, "max_size": SIDE * 5 // 3}
    tree["data"] = {"train": dataset(folder), "train_transforms": [resize], "workers": 0}
    # Boxes of random weights are all alike; suppressed, they would leave the second stage little to do in some steps.
    tree["model"] = {**tree["model"], "proposal_generator": {"type": "rpn", "nms_threshold": 1.0}}
    if not (folder / "train2017").is_dir():
        tree["model"]["num_classes"] = 3
    tree["weights"] = None
    tree["train"] = {
        "steps": steps,
        "batch_size": batch_size,
        "optimizer": {"type": "torch.optim:SGD", "lr": 1e-7, "momentum": 0.9, "weight_decay": 1e-4},
        "schedule": {"type": "det_core.engine:WarmupMultiStep", "warmup": 0},
        "log_every": 1,
        "checkpoint_every": None,
        "device": "cpu",
        **settings,
    }
    return recipe_from_tree(tree, "a benchmark")


class Clock:
    """A callback: the moments at which steps end, of the processor and of the clock on the wall."""

    def __init__(self) -> None:
        self.processor: list[float] = []
        self.wall: list[float] = []

    def after_step(self, trainer: Any, scalars: Any) -> None:
        """Note the time."""
        self.processor.append(time.process_time())
        self.wall.append(time.perf_counter())


def spans(moments: list[float]) -> list[float]:
    """Seconds between moments, without the first ones, which warm everything up."""
    return [later - earlier for earlier, later in pairwise(moments)][WARM_UP - 1 :]


def through_train(folder: Path, steps: int) -> list[float]:
    """Processor seconds of each step of `train`."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as output:
        train(recipe(folder, steps + WARM_UP), Path(output), callbacks=[clock], console=quiet_console())
    return spans(clock.processor)


def bare(folder: Path, steps: int) -> list[float]:
    """Processor seconds of each step of a loop with nothing around it, over the same batches."""
    built = recipe(folder, steps + WARM_UP)
    settings, data = built.build("train"), built.build("data")
    torch.manual_seed(settings.seed)
    model = prepare_model(built.build_model(), settings, torch.device("cpu"))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-7, momentum=0.9, weight_decay=1e-4, fused=True)
    moments = []
    for batch in islice(data.train_loader(IMAGES, settings.seed), steps + WARM_UP):
        optimizer.zero_grad()
        torch.stack(list(model(batch.images, batch.targets).values())).sum().backward()
        optimizer.step()
        moments.append(time.process_time())
    return spans(moments)


def quiet_console() -> Any:
    """Where nothing is shown."""
    from rich.console import Console

    return Console(quiet=True)


def overhead(folder: Path, steps: int) -> dict[str, Any]:
    """Both ways in turn; of each step the shortest time counts, which other programs have disturbed least."""
    found = {}
    for name, value in (("plain", "0"), ("accelerated", "1")):
        os.environ["DET_ACCELERATE"] = value
        rounds: dict[str, list[list[float]]] = {"bare": [], "train": []}
        for number in range(ROUNDS):
            rounds["bare"].append(bare(folder, steps))
            rounds["train"].append(through_train(folder, steps))
            say(f"overhead, {name}, round {number + 1} of {ROUNDS}: " + summary(rounds, steps))
        seconds = {way: sum(map(min, zip(*spans_of, strict=True))) / steps for way, spans_of in rounds.items()}
        found[name] = {
            "bare, s per step": round(seconds["bare"], 4),
            "train, s per step": round(seconds["train"], 4),
            "overhead": round(seconds["train"] / seconds["bare"] - 1, 4),
        }
    del os.environ["DET_ACCELERATE"]
    return found


def summary(rounds: dict[str, list[list[float]]], steps: int) -> str:
    """The seconds per step of the newest round."""
    return ", ".join(f"{way} {sum(spans_of[-1]) / steps:.3f} s per step" for way, spans_of in rounds.items())


def data_wait(folder: Path, steps: int) -> dict[str, Any]:
    """A training of a small RetinaNet with two workers, at the sizes of the recipes."""
    steps *= 2
    built = recipe(folder, steps, batch_size=4, log_every=steps // 2)
    tree = dict(built.tree)
    bottom_up = {"type": "torchvision", "name": "mobilenet_v3_small", "strides": [8, 16, 32], "freeze_at": 0}
    tree["model"] = {
        "type": "dense_detector",
        "num_classes": tree["model"]["num_classes"],
        "backbone": {"type": "fpn", "out_channels": 32, "bottom_up": bottom_up},
        "head": {"type": "retinanet_head"},
    }
    transforms = recipes.load("faster_rcnn_r50_fpn_1x").tree["data"]["train_transforms"]
    tree["data"] = {**tree["data"], "workers": 2, "train_transforms": transforms}
    with tempfile.TemporaryDirectory() as output:
        train(recipe_from_tree(tree, "a benchmark"), Path(output), console=quiet_console())
        row = [row for row in read_scalars(Path(output) / "scalars.jsonl") if "data_wait" in row][-1]
    say(f"data wait {row['data_wait']:.1%} at {row['images_per_second']:.2f} images per second")
    return {
        "data wait": round(row["data_wait"], 4),
        "images per second": round(row["images_per_second"], 2),
        "workers": 2,
    }


def bound(core: int, folder: Path, steps: int, batch_size: int, output: str) -> None:
    """A training on one core; rank 0 writes its images per second to standard output."""
    os.sched_setaffinity(0, {core})
    clock = Clock()
    train(recipe(folder, steps + WARM_UP, batch_size), Path(output), callbacks=[clock], console=quiet_console())
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(batch_size / statistics.median(spans(clock.wall))))


def processes(_: Path, steps: int) -> dict[str, float]:
    """Images per second of one process, of two that share the work, and of two trainings side by side."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        return {}
    program = [__file__, str(BLOOD_CELLS), "--steps", str(2 * steps), "--side", str(SIDE), "--bound"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    sets: dict[str, list[tuple[list[str], list[int], int]]] = {
        "one": [([], cores[:1], IMAGES)],
        "side by side": [([], [core], IMAGES) for core in cores],
        "two": [(torchrun, cores, 2 * IMAGES)],
    }
    found = {}
    for name, commands in sets.items():
        with tempfile.TemporaryDirectory() as output:
            running = [
                subprocess.Popen(
                    [sys.executable, *launcher, *program, ",".join(map(str, on)), str(images), f"{output}/{number}"],
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                )
                for number, (launcher, on, images) in enumerate(commands)
            ]
            outputs = [process.communicate()[0] for process in running]
        if any(process.returncode for process in running):
            raise SystemExit(f"{name}: a process failed")
        found[name] = sum(float(text.splitlines()[-1]) for text in outputs)
        say(f"{name}: {found[name]:.3f} images per second")
    return {
        **{f"{name}, images per second": round(speed, 3) for name, speed in found.items()},
        "two over one": round(found["two"] / found["one"], 3),
        "side by side over one": round(found["side by side"] / found["one"], 3),
    }


def checkpoint(folder: Path, steps: int) -> dict[str, float]:
    """How much longer a step takes that writes weights and state, and how much it writes."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as output:
        built = recipe(folder, 2 * steps, checkpoint_every=2)
        train(built, Path(output), callbacks=[clock], console=quiet_console())
        size = sum((Path(output) / name).stat().st_size for name in ("last.safetensors", "last.state.pt"))
    between = [later - earlier for earlier, later in pairwise(clock.wall)]
    # The span after step 2 holds the checkpoint of step 2, and so on.
    stall = statistics.median(between[1::2]) - statistics.median(between[2::2])
    say(f"checkpoint: {stall:.2f} s for {size / 1e6:.0f} MB")
    return {"seconds": round(stall, 2), "MB": round(size / 1e6)}


def main() -> None:
    """Measure, print, write the figures."""
    global SIDE
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=BLOOD_CELLS)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--only", choices=PARTS, help="measure one part, and keep what the file has of the others")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--bound", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # random weights give denormal gradients, which take twice as long in some steps
    SIDE = given.side
    if given.bound:
        cores, images, output = given.bound
        core = int(cores.split(",")[int(os.environ.get("LOCAL_RANK", "0"))])
        bound(core, given.folder, given.steps, int(images), output)
        return
    found = json.loads(given.output.read_text()) if given.only and given.output.exists() else {}
    found["about"] = {
        "images": "COCO" if (given.folder / "train2017").is_dir() else "blood cells",
        "shorter side": SIDE,
        "images per step and process": IMAGES,
        "steps": given.steps,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    for name in [given.only] if given.only else PARTS:
        before = os.getloadavg()[0]
        found[name] = {**PARTS[name](given.folder, given.steps), "load before": round(before, 1)}
        given.output.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


PARTS = {"processes": processes, "overhead": overhead, "data": data_wait, "checkpoint": checkpoint}

if __name__ == "__main__":
    main()
