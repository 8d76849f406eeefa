"""What the rounding of int8 costs a trained model, and what training with it brings back.

    python benchmarks/quantization_aware.py runs/tiny --steps 60

Evaluates on the test images of the run's recipe: the model in float; with weights and inputs of its layers rounded,
after ranges of pictures of the training set; and, after that many steps of training with the rounding, rounded again.
All in one process, by `det_mobile.quantization.FakeQuantization`, which rounds as an int8 file of det-export does.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from det_core import Detector, recipes
from det_core.engine import evaluate, train
from det_core.models.cpu import accelerate
from det_mobile.quantization import FakeQuantization

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="What int8 costs, and what training with it brings back.")
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("--steps", type=int, default=0, help="of training with the rounding; 0 leaves it out")
    parser.add_argument("--pictures", type=int, default=32, help="that set the ranges")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change the recipe")
    parser.add_argument("--result", type=Path, help="a JSON file")
    arguments = parser.parse_args()
    os.environ.setdefault("DET_DATA", str(ROOT))
    detector = Detector.load(arguments.run, device="cpu")
    recipe = recipes.load(arguments.run / "recipe.resolved.yaml", arguments.set)
    rows = {"float": scores(detector.model, recipe)}
    print(rows, flush=True)
    rows["rounded after training"] = scores(rounding(detector.model, recipe, arguments.pictures), recipe)
    print(rows, flush=True)
    if arguments.steps:
        rows[f"{arguments.steps} steps with rounding"] = fine_tuned(arguments, recipe)
    print("| model | AP | AP50 |\n| --- | ---: | ---: |")
    for name, row in rows.items():
        print(f"| {name} | {100 * row['bbox/AP']:.1f} | {100 * row['bbox/AP50']:.1f} |")
    if arguments.result:
        arguments.result.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


def scores(model: Any, recipe: Any) -> dict[str, float]:
    """The metrics on the test images."""
    data = recipe.build("data")
    return dict(evaluate(model, data.eval_loader("test", batch_size=4), data.build_evaluators("test")).metrics)


def rounding(model: Any, recipe: Any, pictures: int) -> Any:
    """The model, rounding from here on, with ranges of pictures of its training set."""
    rounded = FakeQuantization(accelerate(model.eval(), on=False))
    rounded.rounding, rounded.observing = False, "always"
    rounded.attach()
    data = recipe.build("data")
    count = 0
    with torch.inference_mode():
        for batch in data.eval_loader("train", batch_size=4):
            model(batch.images)
            count += len(batch)
            if count >= pictures:
                break
    rounded.rounding, rounded.observing = True, False
    return model


def fine_tuned(arguments: argparse.Namespace, recipe: Any) -> dict[str, float]:
    """The metrics after some steps at a tenth of the learning rate."""
    steps = arguments.steps
    tree: dict[str, Any] = dict(recipe.tree)
    callback = {"type": "det_mobile.quantization:QuantizationAware"}
    callback |= {"freeze_norms": 2 * steps // 5, "freeze_ranges": 3 * steps // 5}
    optimizer = {**tree["train"]["optimizer"], "lr": tree["train"]["optimizer"]["lr"] / 10}
    changes = {"steps": steps, "checkpoint_every": steps, "callbacks": [callback]}
    tree["train"] = {**tree["train"], **changes, "optimizer": optimizer}
    tree["data"] = {name: node for name, node in tree["data"].items() if name != "val"}
    tree["weights"] = {"source": str((arguments.run / "best.safetensors").resolve())}
    with tempfile.TemporaryDirectory() as folder:
        new = recipes.recipe_from_tree(tree, "training with rounding")
        train(new, Path(folder) / "run", overwrite=True)
        model = Detector.load(Path(folder) / "run" / "last.safetensors", device="cpu").model
        return scores(rounding(model, new, arguments.pictures), new)


if __name__ == "__main__":
    main()
