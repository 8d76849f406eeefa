"""Train from Python: a recipe, changed in code, with a callback of one's own. Run it from a clone of the project.

python examples/train_in_python.py [STEPS]
"""

import sys

from det_core import Detector, recipes
from det_core.engine import train


class PrintBest:
    """A callback: any class with some of the methods of `det_core.engine.Callback`."""

    def after_evaluation(self, trainer, metrics):
        print(f"step {trainer.step}: bbox/AP50 {metrics['bbox/AP50']:.3f}")


steps = sys.argv[1] if len(sys.argv) > 1 else "300"
recipe = recipes.load("examples/blood-cells/recipe.yaml", [f"train.steps={steps}", "train.ema={decay: 0.99}"])
outcome = train(recipe, "runs/from-python", overwrite=True, callbacks=[PrintBest()])
print(outcome.best or outcome.metrics)
detector = Detector.load(outcome.folder.path)
print(len(detector("examples/blood-cells/images/BloodImage_00001.jpg").scores), "cells found")
