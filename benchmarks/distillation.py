"""Does a teacher help? A small student on the blood cells with and without one, over several seeds.

    python benchmarks/distillation.py --teacher runs/tiny/best.safetensors --output runs/distillation

Each run leaves a folder; runs that are finished are not repeated, so the script goes on where it was stopped.
"""

import argparse
import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from det_core import Detector, recipes
from det_core.engine import evaluate, train

ROOT = Path(__file__).resolve().parents[1]
METRICS = ("bbox/AP", "bbox/AP50")


def main() -> None:
    """Train, evaluate on the test images, and print a table."""
    parser = argparse.ArgumentParser(description="Train a student with and without a teacher.")
    parser.add_argument("--teacher", type=Path, required=True, help="a checkpoint of three classes with the level c4")
    parser.add_argument("--output", type=Path, default=Path("runs/distillation"))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--side", type=int, default=192, help="shorter side of the images")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--level", default="c4", help="level of the teacher, of as many channels as --channels")
    parser.add_argument("--channels", type=int, default=96)
    arguments = parser.parse_args()
    os.environ["DET_DATA"] = str(ROOT)
    rows: dict[str, list[dict[str, float]]] = {"alone": [], "taught": []}
    for seed in range(arguments.seeds):
        for kind, metrics in rows.items():
            metrics.append(run(kind, seed, arguments))
            print(kind, seed, {name: round(metrics[-1][name], 4) for name in METRICS}, flush=True)
    print(
        f"| student, {arguments.steps} steps, {arguments.seeds} seeds | {' | '.join(METRICS)} |\n| --- | ---: | ---: |"
    )
    for kind, metrics in rows.items():
        print(f"| {kind} | {' | '.join(spread([each[name] for each in metrics]) for name in METRICS)} |")


def run(kind: str, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """The metrics of one student on the test images."""
    folder = arguments.output / f"{kind}-{seed}"
    results = folder / "test.json"
    if not results.exists():
        tree: dict[str, Any] = dict(recipes.load("mobile_tiny", changes(seed, arguments)).tree)
        if kind == "taught":
            tree["model"] = {
                "type": "det-mobile/distilled",
                "student": tree["model"],
                "teacher": {"source": str(arguments.teacher.resolve())},
                "features": {"levels": {"c4": arguments.level}, "channels": arguments.channels},
                "logits": {"temperature": 2.0},
            }
        recipe = recipes.recipe_from_tree(tree, f"{kind} student")
        train(recipe, folder, overwrite=True)
        detector = Detector.load(folder / "last.safetensors")
        data = recipe.build("data")
        evaluation = evaluate(detector.model, data.eval_loader("test", batch_size=8), data.build_evaluators("test"))
        results.write_text(json.dumps(dict(evaluation.metrics), indent=1) + "\n", "utf-8")
    metrics: dict[str, float] = json.loads(results.read_text("utf-8"))
    return metrics


def changes(seed: int, arguments: argparse.Namespace) -> Sequence[str]:
    """What differs from the recipe."""
    side, steps = arguments.side, arguments.steps
    return (
        f"train.seed={seed}",
        f"train.steps={steps}",
        f"train.evaluate_every={steps}",
        f"train.checkpoint_every={steps}",
        f"data.eval_transforms.0.size={side}",
        f"data.train_transforms.0.size=[{side - 32},{side},{side + 32}]",
    )


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation, times 100."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.1f} ± {100 * deviation:.1f}"


if __name__ == "__main__":
    main()
