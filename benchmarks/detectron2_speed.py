"""`DefaultPredictor` of det's layer for Detectron2 beside `Detector`, with the same weights and images.

Mask R-CNN (R50-FPN) with random weights, which finds twenty objects in each image; masks at image size. Both predict
in turn; the figures are medians of processor time. Run it with: python benchmarks/detectron2_speed.py [IMAGES]
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import det_detectron2.as_detectron2  # noqa: F401
import numpy as np
import torch
from det_core import recipes
from det_core.data import read_image
from det_core.predict import Detector
from det_detectron2.importer.files import recipe_from_settings
from det_detectron2.layer import model_zoo
from det_detectron2.layer.checkpoint import DetectionCheckpointer
from det_detectron2.layer.engine import DefaultPredictor
from det_detectron2.layer.modeling.model import flat_settings

IMAGES = Path(__file__).parent.parent / "examples" / "blood-cells" / "images"
RESULTS = Path(__file__).parent / "results" / "detectron2_speed.json"
LIMIT = 1.05


def pair() -> dict[str, Callable[[Any], Any]]:
    """Both ways from an RGB image to boxes, scores and masks of the image's size."""
    cfg = model_zoo.get_config("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml")
    settings = ("MODEL.DEVICE", "cpu", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0, "TEST.DETECTIONS_PER_IMAGE", 20)
    cfg.merge_from_list([*settings, "INPUT.MIN_SIZE_TEST", 320])
    recipe = recipes.recipe_from_tree(recipe_from_settings(flat_settings(cfg)).tree)
    torch.manual_seed(0)
    model = recipe.build_model()
    with tempfile.TemporaryDirectory() as folder:
        DetectionCheckpointer(model, folder).save("weights")
        cfg.MODEL.WEIGHTS = f"{folder}/weights.pth"
        predictor = DefaultPredictor(cfg)
    names = [str(number) for number in range(80)]
    detector = Detector(model, names, recipe.build_part("data.eval_transforms", list), device="cpu")

    def by_layer(image: Any) -> Any:
        found = predictor(image[:, :, ::-1])["instances"]
        return found.pred_boxes.tensor, found.scores, found.pred_masks

    def by_det(image: Any) -> Any:
        found = detector(image, threshold=0)
        return found.detections.boxes, found.detections.scores, found.masks.stacked()

    return {"Detector": by_det, "DefaultPredictor": by_layer}


def main() -> int:
    """Measure, print a table, write the figures; 1 if the layer is slower or finds something else."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    torch.set_num_threads(1)
    images = [read_image(file).permute(1, 2, 0).numpy() for file in sorted(IMAGES.iterdir())[:count]]
    both, seconds = pair(), {}
    for turn, image in enumerate([images[0], *images]):
        found = {}
        for name, predict in both.items():
            start = time.process_time()
            found[name] = predict(np.ascontiguousarray(image))
            if turn:
                seconds.setdefault(name, []).append(time.process_time() - start)
        for ours, theirs in zip(*found.values(), strict=True):
            torch.testing.assert_close(ours, theirs)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    pairs = zip(seconds["DefaultPredictor"], seconds["Detector"], strict=True)
    ratio = statistics.median(layer / det for layer, det in pairs)
    for name, median in medians.items():
        print(f"{name:18}{median * 1e3:8.0f} ms")
    print(f"{'ratio':18}{ratio:8.2f}      (at most {LIMIT})")
    milliseconds = {name: round(median * 1e3) for name, median in medians.items()}
    figures = {"milliseconds": milliseconds, "ratio": round(ratio, 3), "images": count, "cpus": os.cpu_count()}
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
