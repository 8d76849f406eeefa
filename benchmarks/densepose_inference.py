"""Where the processor's time goes when densepose_rcnn_r50_fpn_s1x describes a picture: the share of convolutions.

Weights are random, and the detections kept are as many as asked for, which decides how much the branch of DensePose has
to do. Shares are of the processor time of all operations of PyTorch, on one thread; a busy machine changes them little.
Run it: python benchmarks/densepose_inference.py [DETECTIONS ...]
"""

import json
import platform
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from det_core import recipes
from det_core.predict.optimize import optimize
from det_core.structures import ImageBatch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

RESULTS = Path(__file__).parent / "results" / "densepose_inference.json"
SIZE = (800, 1216)
LAYERS = {"conv2d", "conv_transpose2d", "convolution", "linear", "addmm", "mm", "bmm"}


def models(detections: int) -> dict[str, nn.Module]:
    """The model that keeps so many detections: plain, and with its batch norms in the convolutions before them."""
    tree = json.loads(json.dumps(recipes.load("densepose_rcnn_r50_fpn_s1x").tree["model"]))
    predictor = {"score_threshold": 0.0, "max_detections": detections, "nms_threshold": 1.0}
    tree["roi_heads"]["stage"]["box_predictor"] = predictor
    tree["proposal_generator"] = {"type": "rpn", "nms_threshold": 1.0}  # boxes of random weights are all alike
    torch.manual_seed(0)
    plain = recipes.recipe_from_tree({"model": tree}).build_model().eval()
    # Activations of random weights are so large that every score would be 0, and nothing would be detected.
    for layer in (plain.roi_heads.box_predictor.cls_score, plain.roi_heads.box_predictor.bbox_pred):
        nn.init.zeros_(layer.weight)
    return {"plain": plain, "optimized": optimize(plain)}


class OperationTimes(TorchDispatchMode):
    """Adds up the processor time of each operation, in seconds, by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.spent: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        start = time.process_time()
        result = func(*args, **(kwargs or {}))
        self.spent[func.overloadpacket.__name__] += time.process_time() - start
        return result


def measured(model: nn.Module) -> dict[str, float]:
    """The share of convolutions and linear layers, the seconds of a call; the dearest of the others are printed."""
    batch = ImageBatch.stack([torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8)])
    with torch.inference_mode():
        model(batch)
        start = time.process_time()
        with OperationTimes() as times:
            (found,) = model(batch)
        seconds = time.process_time() - start
    if len(found.detections) < 1:
        raise SystemExit("the model detects nothing, so that its branch of DensePose is not measured")
    total = sum(times.spent.values())
    rest = Counter({name: value for name, value in times.spent.items() if name not in LAYERS})
    for name, value in rest.most_common(6):
        print(f"  {name:32}{value / total:6.1%}")
    share = 1 - sum(rest.values()) / total
    return {"found": len(found.detections), "share": round(share, 3), "seconds": round(seconds, 2)}


def main() -> None:
    """Measure, print, write the figures."""
    torch.set_num_threads(1)
    figures: dict[str, object] = {}
    for count in map(int, sys.argv[1:] or ("1", "5", "20")):
        for name, model in models(count).items():
            row = measured(model)
            print(f"{name}, {row['found']} detections: {row['share']:.1%} in layers, {row['seconds']:.2f} s")
            figures[f"{name}, {count} detections"] = row
    figures |= {"size": SIZE, "threads": torch.get_num_threads(), "torch": torch.__version__}
    figures["python"] = platform.python_version()
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
