"""The main job: learn to find blood cells in four minutes on two CPU cores, and show what was learnt.

Trains the recipe beside this file from an ImageNet backbone, chooses the weights on the validation images, evaluates
them on the test images, and leaves a folder with everything there is to see:

    python examples/blood-cells/demo.py --output runs/demo
"""

import argparse
import json
import os
import time
from pathlib import Path

from det_core import Detector, recipes
from det_core.data import Data
from det_core.engine import Evaluation, Outcome, evaluate, read_scalars, train
from det_core.visual import plot_curves
from det_inspect.panels import contact_sheet, side_by_side

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Train, choose, evaluate, predict."""
    parser = argparse.ArgumentParser(description="Learn to find blood cells, and show what was learnt.")
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), help="the folder for the results")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change the recipe")
    arguments = parser.parse_args()
    # The recipe names its files from the root of the repository, wherever this is called from.
    os.environ["DET_DATA"] = str(HERE.parents[1])
    recipe = recipes.load(HERE / "recipe.yaml", arguments.set)

    start = time.perf_counter()
    outcome = train(recipe, arguments.output, overwrite=True)
    minutes = (time.perf_counter() - start) / 60
    if not outcome.finished:
        raise SystemExit(130)

    folder = outcome.folder
    detector = Detector.load(folder.best)
    data = recipe.build("data")
    test = evaluate(detector.model, data.eval_loader("test", batch_size=8), data.build_evaluators("test"))
    plot_curves(read_scalars(folder.scalars), folder.path / "curves.png")
    draw_test_images(detector, data, folder.path)
    write_table(outcome, detector, test, data, minutes)
    print(f"\nResults are in {folder.path}: results.md, metrics.json, curves.png, test.png, test/, best.safetensors")
    print(f"Trained {outcome.step} steps in {minutes:.1f} minutes on {os.cpu_count()} cores")
    print(f"AP50: {test.metrics['bbox/AP50']:.3f}")


def draw_test_images(detector: Detector, data: Data, folder: Path) -> None:
    """Every test image with the prediction beside the truth, and six of them on one sheet."""
    (folder / "test").mkdir(exist_ok=True)
    dataset = data.dataset("test")
    on_sheet = range(0, len(dataset), -(-len(dataset) // 6))
    panels = []
    for index in range(len(dataset)):
        sample = dataset[index]
        found = detector(sample.image)
        panel = side_by_side(sample.image, sample.targets, found.detections, detector.classes)
        panel.save(folder / "test" / f"{sample.path.stem}.jpg", quality=90)
        if index in on_sheet:
            panels.append(panel)
    contact_sheet(panels, columns=2).save(folder / "test.png", optimize=True)


def write_table(outcome: Outcome, detector: Detector, test: Evaluation, data: Data, minutes: float) -> None:
    """The figures on validation and test images, for people (results.md) and for programs (metrics.json)."""
    val, folder = detector.about.metrics, outcome.folder.path
    counts = {split: len(data.dataset(split)) for split in ("train", "val", "test")}
    lines = [
        "# Blood cells",
        "",
        f"Faster R-CNN on MobileNetV2 and FPN, {outcome.step} steps on {counts['train']} images "
        f"in {minutes:.1f} minutes on {os.cpu_count()} cores; the weights of step {outcome.best.step} had "
        f"the best {outcome.best.metric} on val.",
        "",
        f"| metric | val ({counts['val']} images) | test ({counts['test']} images) |",
        "| --- | ---: | ---: |",
        *(f"| {name} | {shown(val.get(name))} | {shown(value)} |" for name, value in test.metrics.items()),
        "",
        *(f"- {note}" for note in test.notes),
    ]
    text = "\n".join(lines).rstrip() + "\n"
    (folder / "results.md").write_text(text, encoding="utf-8")
    print("\n" + text)
    about = {"steps": outcome.step, "best_step": outcome.best.step, "minutes": minutes, "images": counts}
    figures = {**about, "val": dict(val), "test": test.metrics}
    (folder / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def shown(value: float | None) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
