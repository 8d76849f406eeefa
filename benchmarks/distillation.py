"""Does a teacher help? A small student on the blood cells with and without one, over several seeds.

    python benchmarks/distillation.py

The teacher is the detector of examples/blood-cells. Metrics of each student on the test images are written to
results/distillation.json as soon as they are there; students that are in it, with the same settings, are not trained
again.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from det_core import Detector, recipes
from det_core.engine import evaluate, train

ROOT = Path(__file__).resolve().parents[1]
METRICS = ("bbox/AP", "bbox/AP50", "bbox/AP75")
KINDS = ("teacher", "alone", "taught")


def main() -> None:
    """Train, evaluate, and keep what was measured."""
    parser = argparse.ArgumentParser(description="Train a student with and without a teacher.")
    parser.add_argument("--teacher", default="examples/blood-cells/detector.safetensors", help="of three classes")
    parser.add_argument("--folder", type=Path, default=Path("runs/distillation"))
    parser.add_argument("--result", type=Path, default=Path(__file__).parent / "results" / "distillation.json")
    parser.add_argument("--student", default="mobile_tiny", help="recipe of a detector with the level c4")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--side", type=int, default=224, help="shorter side of the images")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--level", default="p4", help="level of the teacher, of as many channels as --channels")
    parser.add_argument("--channels", type=int, default=64)
    arguments = parser.parse_args()
    os.environ["DET_DATA"] = str(ROOT)
    names = ("teacher", "student", "steps", "side", "level", "channels")
    settings = {name: getattr(arguments, name) for name in names}
    content = json.loads(arguments.result.read_text("utf-8")) if arguments.result.exists() else {}
    if content.get("settings") != settings:
        content = {"settings": settings, "rows": {kind: {} for kind in KINDS}}
    for seed in range(arguments.seeds):
        for kind in KINDS[seed > 0 :]:
            row = content["rows"][kind]
            if str(seed) not in row:
                row[str(seed)] = measured(kind, seed, arguments)
                print(kind, seed, row[str(seed)], flush=True)
                arguments.result.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def measured(kind: str, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """The metrics of the teacher or of a student on the test images, and the seconds of its training."""
    tree: dict[str, Any] = dict(recipes.load(arguments.student, changes(seed, arguments)).tree)
    teacher = str((ROOT / arguments.teacher).resolve())
    if kind == "taught":
        tree["model"] = {
            "type": "det-mobile/distilled",
            "student": tree["model"],
            "teacher": {"source": teacher},
            "features": {"levels": {"c4": arguments.level}, "channels": arguments.channels},
            "logits": {"temperature": 2.0},
        }
        tree["train"] = {**tree["train"], "callbacks": [{"type": "det_mobile.distillation:AdapterState"}]}
    tree["data"] = {name: node for name, node in tree["data"].items() if name != "val"}
    recipe = recipes.recipe_from_tree(tree, f"student, {kind}")
    folder, start = arguments.folder / f"{kind}-{seed}", time.monotonic()
    if kind != "teacher":
        train(recipe, folder, overwrite=True)
    seconds = time.monotonic() - start
    detector = Detector.load(teacher if kind == "teacher" else folder / "last.safetensors", device="cpu")
    data = recipe.build("data")
    metrics = evaluate(detector.model, data.eval_loader("test", batch_size=8), data.build_evaluators("test")).metrics
    return {name: metrics[name] for name in METRICS} | {"seconds": seconds}


def changes(seed: int, arguments: argparse.Namespace) -> Sequence[str]:
    """What differs from the recipe."""
    side, steps = arguments.side, arguments.steps
    return (
        f"train.seed={seed}",
        f"train.steps={steps}",
        f"train.checkpoint_every={steps}",
        f"data.eval_transforms.0.size={side}",
        f"data.train_transforms.0.size=[{side - 32},{side},{side + 32}]",
    )


if __name__ == "__main__":
    main()
