"""The main job: learn to find blood cells in four minutes on two CPU cores, and show the result.

Trains the recipe beside this file from an ImageNet backbone, chooses the weights on the validation images, evaluates
them on the test images, and leaves a folder with everything there is to see:

    python examples/blood-cells/demo.py --output runs/demo
    python examples/blood-cells/demo.py --quick             # two minutes: small.yaml, fewer steps, 24 test images

A run that was stopped goes on by the same command; --fresh begins again.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from det_core import Detector
    from det_core.data import Data
    from det_core.engine import Evaluation, Outcome

HERE = Path(__file__).resolve().parent
QUICK = ("train.steps=80", "train.evaluate_every=80", "train.checkpoint_every=20")
QUICK_IMAGES = 24
STAGES = ("loading det and torch", "training", "evaluating", "drawing", "writing results")


def main() -> None:
    """Train, choose, evaluate, predict."""
    parser = argparse.ArgumentParser(description="Learn to find blood cells, and show the result.")
    parser.add_argument("--output", type=Path, help="the folder for the results; runs/demo or runs/demo-quick")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change the recipe")
    parser.add_argument("--quick", action="store_true", help="a smaller detector, trained for two minutes")
    parser.add_argument("--fresh", action="store_true", help="begin again instead of going on with a stopped run")
    arguments = parser.parse_args()
    output = arguments.output or Path("runs", "demo-quick" if arguments.quick else "demo")

    stage(0)
    from det_core import Detector, recipes
    from det_core.engine import read_scalars, train
    from det_inspect.runs.curves import plot_curves

    fit_threads()
    # The recipe names its files from the root of the repository, wherever this is called from.
    os.environ["DET_DATA"] = str(HERE.parents[1])
    changes = [*(QUICK if arguments.quick else ()), *arguments.set]
    recipe = recipes.load(HERE / ("small.yaml" if arguments.quick else "recipe.yaml"), changes)

    steps = recipe.resolved().tree["train"]["steps"]
    stage(1, f"{steps} steps into {output}; Ctrl-C stops it, and the same command goes on")
    start = time.perf_counter()
    outcome = train(recipe, output, resume=not arguments.fresh, overwrite=arguments.fresh)
    minutes = (time.perf_counter() - start) / 60
    if not outcome.finished:
        files = [file.name for file in (outcome.folder.best, outcome.folder.last) if file.exists()]
        saved = f"saved in {output}: {', '.join(files)} (weights) and {outcome.folder.state.name} (to go on from)"
        print(f"\nStopped after step {outcome.step} of {steps}; {saved}. The same command goes on.", flush=True)
        raise SystemExit(130)

    folder = outcome.folder
    detector, data = Detector.load(folder.newest_good), recipe.build("data")
    stage(2, "on test photographs")
    images = QUICK_IMAGES if arguments.quick else len(data.dataset("test"))
    test = evaluated(detector, data, images)
    stage(3, f"predictions beside the ground truth, in {folder.path / 'test'}")
    plot_curves(read_scalars(folder.scalars), folder.path / "curves.png")
    draw_test_images(detector, data, folder.path, images)
    stage(4, str(folder.path))
    counts = {split: len(data.dataset(split)) for split in ("train", "val") if getattr(data, split)} | {"test": images}
    write_table(outcome, detector, test, counts, minutes)
    print(f"\nResults are in {folder.path}: results.md, metrics.json, curves.png, test.png, test/, best.safetensors")
    print(f"Trained to step {outcome.step}, {minutes:.1f} minutes this time, on {os.cpu_count()} cores")
    print(f"AP50: {test.metrics['bbox/AP50']:.3f}")


def stage(number: int, more: str = "") -> None:
    """Show how far the demo is."""
    print(f"[{number + 1}/{len(STAGES)}] {STAGES[number]}{': ' if more else ''}{more}", flush=True)


def fit_threads() -> None:
    """On a busy machine, use as many threads as there are idle cores: more of them wait for each other."""
    import torch

    if not hasattr(os, "getloadavg"):
        return
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    idle = max(1, round(cores - load))
    if idle < torch.get_num_threads():
        torch.set_num_threads(idle)
        threads = "1 thread" if idle == 1 else f"{idle} threads"
        print(f"note: the machine is busy (load {load:.1f} on {cores} cores): {threads}, and it takes longer")


def evaluated(detector: "Detector", data: "Data", count: int) -> "Evaluation":
    """Metrics on the first `count` test images."""
    from det_core.engine import evaluate

    loader = data.eval_loader("test", batch_size=8)
    if count < len(data.dataset("test")):
        from det_core.data import EvalLoader
        from det_inspect.training import Subset

        few: Any = Subset(data.dataset("test"), range(count))
        loader = EvalLoader(dataset=few, batch_size=8, transforms=data.eval_transforms)
    return evaluate(detector.model, loader, data.build_evaluators("test"))


def draw_test_images(detector: "Detector", data: "Data", folder: Path, count: int) -> None:
    """The first `count` test images with the prediction beside the ground truth, and six of them on one sheet."""
    from det_inspect.panels import contact_sheet, side_by_side

    (folder / "test").mkdir(exist_ok=True)
    dataset = data.dataset("test")
    on_sheet = range(0, count, -(-count // 6))
    panels = []
    for index in range(count):
        sample = dataset[index]
        result = detector(sample.image)
        panel = side_by_side(sample.image, sample.targets, result.detections, detector.classes)
        panel.save(folder / "test" / f"{sample.path.stem}.jpg", quality=90)
        if index in on_sheet:
            panels.append(panel)
    contact_sheet(panels, columns=2).save(folder / "test.png", optimize=True)


def write_table(
    outcome: "Outcome", detector: "Detector", test: "Evaluation", counts: dict[str, int], minutes: float
) -> None:
    """The figures on validation and test images, for people (results.md) and for programs (metrics.json).

    `counts` are the images of each split that were used; `minutes` were trained since the last start.
    """
    best = f"the weights of step {outcome.best.step} had the best {outcome.best.metric} on val" if outcome.best else ""
    val, folder = detector.about.metrics, outcome.folder.path
    lines = [
        "# Blood cells",
        "",
        f"Faster R-CNN on MobileNetV2 and FPN, {outcome.step} steps on {counts['train']} images "
        f"({minutes:.1f} minutes since the last start, on {os.cpu_count()} cores); {best}.",
        "",
        f"| metric | val ({counts.get('val', 0)} images) | test ({counts['test']} images) |",
        "| --- | ---: | ---: |",
        *(
            f"| {name} | {format_value(val.get(name))} | {format_value(value)} |"
            for name, value in test.metrics.items()
        ),
        "",
        *(f"- {note}" for note in test.notes),
    ]
    text = "\n".join(lines).rstrip() + "\n"
    (folder / "results.md").write_text(text, encoding="utf-8")
    print("\n" + text)
    about = {
        "steps": outcome.step,
        "best_step": outcome.best and outcome.best.step,
        "minutes": minutes,
        "images": counts,
    }
    figures = {**about, "val": dict(val), "test": test.metrics}
    (folder / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def format_value(value: float | None) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
