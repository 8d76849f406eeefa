"""How long one image takes in models of every kind: as published, with `cpu_acceleration`, and optimized.

"plain" is `accelerate(model, on=False)`: the published arithmetic in plain PyTorch and torchvision. All have the same
random weights, scaled layer by layer so that much is detected, take turns, and are called from pixels to predictions;
the figures are medians of two threads. "agree" is the share of the detections, or of the pixels, that are the same.
Run it: python benchmarks/models.py [--runs N] [--only RECIPE ...]
"""

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _images import batch_of
from det_core import recipes
from det_core.models.cpu_acceleration import accelerate
from det_core.predict import Result, optimize
from det_export.check import shipped
from det_inspect.speed.agreement import agreement_of
from det_inspect.speed.child import predicted
from torch import nn

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "packages" / "det-export" / "tests"))
import narrow_models  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "models.json"
PHOTO, SQUARE, STREET = (800, 1216), (1024, 1024), (1024, 2048)
MODELS = {
    "faster_rcnn_r50_c4_1x": PHOTO,
    "faster_rcnn_r50_fpn_1x": PHOTO,
    "mask_rcnn_r50_fpn_1x": PHOTO,
    "keypoint_rcnn_r50_fpn_1x": PHOTO,
    "cascade_mask_rcnn_r50_fpn_1x": PHOTO,
    "retinanet_r50_fpn_1x": PHOTO,
    "fcos_r50_fpn_1x": PHOTO,
    "panoptic_fpn_r50_1x": PHOTO,
    "pointrend_rcnn_r50_fpn_1x_coco": PHOTO,
    "tensormask_r50_fpn_1x": PHOTO,
    "densepose_rcnn_r50_fpn_s1x": PHOTO,
    "mask_rcnn_vitdet_b_100ep": SQUARE,
    "panoptic_deeplab_r52_os16_mg124_poly_90k_bs32_crop_512_1024": STREET,
}
VARIANTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda model: accelerate(copy.deepcopy(model), on=False),
    "det": lambda model: accelerate(copy.deepcopy(model)),
    "optimized": lambda model: optimize(accelerate(copy.deepcopy(model))),
}


@torch.no_grad()
def measure(recipe: str, size: tuple[int, int], runs: int) -> dict[str, dict[str, float]]:
    """Name of a variant -> its figures."""
    torch.manual_seed(0)
    model, batch = recipes.load(recipe).build_model().eval(), batch_of(shipped()[0], size)
    narrow_models.spread(model, (size[0] // 4, size[1] // 4))
    models = {name: make(model) for name, make in VARIANTS.items()}
    outputs: dict[str, Any] = {}
    times: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(runs + 1):
        for name, each in models.items():
            start = time.perf_counter()
            [prediction] = each(batch)
            if turn:
                times[name].append(time.perf_counter() - start)
            else:
                outputs[name] = predicted(Result(batch.pixels[0], prediction, (), ()))
    medians = {name: statistics.median(each) for name, each in times.items()}
    return {
        name: {
            "seconds": round(medians[name], 3),
            "times plain": round(medians["plain"] / medians[name], 2),
            "agree": round(agreement_of([outputs["plain"]], [outputs[name]]).matched, 3),
        }
        for name in models
    }


def main() -> None:
    """Measure, print, and keep each model as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=list(MODELS), choices=list(MODELS), metavar="RECIPE")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    for recipe in arguments.only:
        rows = measure(recipe, MODELS[recipe], arguments.runs)
        print(recipe, *(f"{name}: {row}" for name, row in rows.items()), sep="\n  ", flush=True)
        kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
        kept[recipe] = {"size": MODELS[recipe], "variants": rows, "torch": torch.__version__, "runs": arguments.runs}
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
