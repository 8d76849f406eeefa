"""Makes the detector shipped in this folder from a run of small.yaml: its best weights, in half precision.

    det train examples/blood-cells/small.yaml --output runs/small
    python examples/blood-cells/ship.py runs/small

Evaluates the file as written on the test images and prints the figures of DETECTOR.md.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

from det_core import Detector, recipes
from det_core.engine import evaluate
from det_core.engine.checkpoint import read_checkpoint, save_checkpoint

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Halve, write, evaluate."""
    about, state = read_checkpoint(Path(sys.argv[1]) / "best.safetensors")
    halved = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    portable = about.recipe.replace(f"{HERE.parents[1]}/", "")  # paths from the root of the repository
    save_checkpoint(HERE / "detector.safetensors", halved, replace(about, recipe=portable))
    os.environ["DET_DATA"] = str(HERE.parents[1])
    detector = Detector.load(HERE / "detector.safetensors")
    data = recipes.load(HERE / "small.yaml").build("data")
    result = evaluate(detector.model, data.eval_loader("test", batch_size=8), data.build_evaluators("test"))
    for name, value in result.metrics.items():
        print(f"{name} {value:.3f}")
    print(f"{(HERE / 'detector.safetensors').stat().st_size / 2**20:.1f} MiB, step {about.step}")


if __name__ == "__main__":
    main()
