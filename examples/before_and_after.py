"""Evaluates each recipe before and after its training, in a table and a picture.

Evaluates the weights that each recipe starts from on its validation images, trains it, and evaluates it again:

    python examples/before_and_after.py examples/nuclei/tensormask.yaml --output runs/nuclei

What is in the folder already is not trained again.
"""

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from det_core import Detector, recipes
from det_core.data import Data, ResizeShortestEdge, compose
from det_core.engine import Train, evaluate, initial_model, train
from det_core.structures import Sample, SemanticMap
from det_core.visual import draw
from det_inspect.panels import contact_sheet
from det_panoptic.drawing import draw_segments
from PIL import Image
from torch import nn
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[1]
FIGURES = {
    "bbox/AP": "box AP",
    "bbox/AP50": "box AP50",
    "segm/AP": "mask AP",
    "segm/AP50": "mask AP50",
    "semantic/mIoU": "mIoU",
}
NUM_IMAGES, SIDE = 4, 320


def main() -> None:
    """Evaluate, train, evaluate again, draw."""
    parser = argparse.ArgumentParser(description="Evaluate recipes before and after training.")
    parser.add_argument("recipes", type=Path, nargs="+", metavar="RECIPE", help="YAML files")
    parser.add_argument("--output", type=Path, required=True, help="the folder for runs and results")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change all recipes")
    arguments = parser.parse_args()
    # The recipes name their files from the root of the repository, wherever this is called from.
    os.environ["DET_DATA"] = str(ROOT)
    arguments.output.mkdir(parents=True, exist_ok=True)
    file = arguments.output / "before_and_after.json"
    figures: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for path in arguments.recipes:
        recipe, folder = recipes.load(path, arguments.set), arguments.output / path.stem
        data, settings = recipe.build("data"), recipe.build("train")
        torch.manual_seed(settings.seed)  # so that these are the weights with which training starts
        before = figures_of(initial_model(recipe), data, settings)
        if not (folder / "last.safetensors").exists():
            train(recipe, folder, overwrite=True)
        detector = Detector.load(folder / "last.safetensors")
        after = figures_of(detector.model, data, settings)
        # A figure may be undefined where nothing is found.
        figures[path.stem] = {key: [before.get(key, 0.0), value] for key, value in after.items()}
        file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        draw_pairs(detector, data).save(folder / "found.png", optimize=True)
    table = table_of(figures)
    (arguments.output / "before_and_after.md").write_text(table, encoding="utf-8")
    print(f"\n{table}\nThe table: {file.with_suffix('.md')} and {file.name}; pictures: found.png of each run")


def figures_of(model: nn.Module, data: Data, settings: Train) -> dict[str, float]:
    """The figures of a model on the validation images, in batches as training evaluates them."""
    batches = data.eval_loader("val", settings.evaluate_batch_size or settings.batch_size)
    metrics = evaluate(model, batches, data.build_evaluators("val")).metrics
    return {key: metrics[key] for key in FIGURES if key in metrics}


def table_of(figures: Mapping[str, Mapping[str, tuple[float, float]]]) -> str:
    """The figures as a table, in per cent."""
    rows = [
        f"| `{name}` | {FIGURES[key]} | {100 * before:.1f} | {100 * after:.1f} |"
        for name, metrics in figures.items()
        for key, (before, after) in metrics.items()
    ]
    return "\n".join(["| recipe | figure | before | after |", "| --- | --- | ---: | ---: |", *rows]) + "\n"


def draw_pairs(detector: Detector, data: Data) -> Image.Image:
    """Some validation images, two in a row: the ground truth, and on its right the predictions."""
    dataset, enlarge, panels = data.dataset("val"), compose([ResizeShortestEdge(SIDE)]), []
    for index in range(0, len(dataset), -(-len(dataset) // NUM_IMAGES)):
        sample: Sample = enlarge(dataset[index])
        result, targets = detector(sample.image), sample.targets
        if targets.semantic is None:
            panels += [draw(sample.image, each, write=False) for each in (targets, result.detections)]
        else:
            logits = F.one_hot(targets.semantic, len(dataset.classes)).permute(2, 0, 1).float()
            maps = (SemanticMap(logits=logits), result.segments)
            panels += [draw_segments(sample.image, each, dataset.classes) for each in maps]
    return contact_sheet(panels, columns=4, gap=6)


if __name__ == "__main__":
    main()
