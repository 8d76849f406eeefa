"""The loss of a trained model to the rounding of int8, and the gain of training with it.

    python benchmarks/quantization_aware.py runs/tiny --steps 60

AP on the test images of the recipe of a run, or of the detector of examples/blood-cells: of the model as it is, after
some more steps at a tenth of the learning rate, and after as many steps with the rounding of `QuantizationAware`. Each
in float, with rounded weights and inputs of its layers (`FakeQuantization`, after ranges of pictures of the training
set), and, with `--files`, as an int8 file of onnx. All in one process, written to results/quantization_aware.json row
by row; rows that are in it are not measured again.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import torch
from det_core import Detector, recipes
from det_core.engine import evaluate, train
from det_core.models.cpu_acceleration import accelerate
from det_mobile.quantization import FakeQuantization

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = "examples/blood-cells/detector.safetensors"
METRICS = ("bbox/AP", "bbox/AP50", "bbox/AP75")
KINDS = ("trained", "more steps", "steps with rounding")


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description="What int8 costs, and what training with it brings back.")
    parser.add_argument("run", nargs="?", default=SHIPPED, help="the folder of a run, or a checkpoint")
    parser.add_argument("--name", help="of the rows; the name of the run without it")
    parser.add_argument("--steps", type=int, default=60, help="of each further training")
    parser.add_argument("--pictures", type=int, default=32, help="that set the ranges")
    parser.add_argument("--files", action="store_true", help="write and evaluate int8 files, too")
    parser.add_argument("--folder", type=Path, default=Path("runs/quantization-aware"))
    parser.add_argument("--result", type=Path, default=Path(__file__).parent / "results" / "quantization_aware.json")
    arguments = parser.parse_args()
    os.environ.setdefault("DET_DATA", str(ROOT))
    name = arguments.name or Path(arguments.run).stem
    content = json.loads(arguments.result.read_text("utf-8")) if arguments.result.exists() else {}
    rows = content.setdefault(name, {"steps": arguments.steps, "rows": {}})["rows"]
    for kind in KINDS:
        for form in ("float", "rounded", *(["file"] if arguments.files else [])):
            if form not in rows.setdefault(kind, {}):
                rows[kind][form] = measured(kind, form, name, arguments)
                print(name, kind, form, rows[kind][form], flush=True)
                arguments.result.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def measured(kind: str, form: str, name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """The metrics of a model, after its training where that is not there yet."""
    source = ROOT / arguments.run if arguments.run == SHIPPED else Path(arguments.run)
    original = Detector.load(source, device="cpu")
    recipe: Any = original.recipe
    if kind != "trained":
        folder = arguments.folder / f"{name}-{kind.replace(' ', '-')}"
        if not (folder / "last.safetensors").exists():
            weights = source / "best.safetensors" if source.is_dir() else source
            train(further(recipe, weights, kind, arguments.steps), folder, overwrite=True)
        source = folder / "last.safetensors"
    detector = Detector.load(source, device="cpu")
    if form == "float":
        return scores(detector.model, recipe)
    if form == "rounded":
        return scores(rounding(detector.model, recipe, arguments.pictures), recipe)
    pictures = ROOT / "examples/blood-cells/images"
    path = arguments.folder / f"{name}-{kind.replace(' ', '-')}.onnx"
    path = detector.export("onnx", path, (320, 448), precision="int8", calibrate=pictures)
    return scores(Detector.load(path, device="cpu").model, recipe)


def scores(model: Any, recipe: Any) -> dict[str, float]:
    """The metrics on the test images."""
    data = recipe.build("data")
    metrics = evaluate(model, data.eval_loader("test", batch_size=1), data.build_evaluators("test")).metrics
    return {name: metrics[name] for name in METRICS}


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


def further(recipe: Any, weights: Path, kind: str, steps: int) -> Any:
    """The recipe of some more steps from these weights, at a tenth of the learning rate."""
    tree: dict[str, Any] = {name: node for name, node in recipe.tree.items() if name != "versions"}
    optimizer = {**tree["train"]["optimizer"], "lr": tree["train"]["optimizer"]["lr"] / 10}
    tree["train"] = {**tree["train"], "steps": steps, "checkpoint_every": steps, "optimizer": optimizer}
    tree["train"]["schedule"] = {"type": "det_core.engine:WarmupCosine", "warmup": steps // 10}
    if kind == "steps with rounding":
        callback: dict[str, Any] = {"type": "det_mobile.quantization:QuantizationAware"}
        callback |= {"freeze_norms": 2 * steps // 5, "freeze_ranges": 3 * steps // 5}
        tree["train"]["callbacks"] = [callback]
    tree["data"] = {name: node for name, node in tree["data"].items() if name != "val"}
    tree["weights"] = {"source": str(weights.resolve())}
    return recipes.recipe_from_tree(tree, kind)


if __name__ == "__main__":
    main()
