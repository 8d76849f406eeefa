"""Rotated boxes from a COCO file to predictions, through the commands: four pictures of bars are learnt by heart."""

import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.engine import read_scalars
from det_core.ops import rotated
from det_core.predict.detector import Detector
from det_core.recipes import recipe_from_tree
from PIL import Image, ImageDraw

SIDE = 96
COLOURS = ((200, 40, 40), (40, 90, 210))


def run(*arguments):
    result = CliRunner().invoke(det, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return result


def write(folder):
    """Four grey pictures with a red and a blue bar each, and what they are."""
    (folder / "images").mkdir()
    random = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(4):
        picture = Image.new("RGB", (SIDE, SIDE), (120, 120, 120))
        for label, colour in enumerate(COLOURS):
            angle = float(random.uniform(-80, 80))
            box = [24.0 + 48 * label, float(random.uniform(24, 72)), 36.0, 12.0, angle]
            across = np.array([math.cos(math.radians(angle)), -math.sin(math.radians(angle))]) * 18
            down = np.array([math.sin(math.radians(angle)), math.cos(math.radians(angle))]) * 6
            corners = [np.array(box[:2]) + a * across + b * down for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
            ImageDraw.Draw(picture).polygon([tuple(corner) for corner in corners], fill=colour)
            annotations.append({"id": len(annotations) + 1, "image_id": i, "category_id": label + 1, "bbox": box})
        picture.save(folder / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": SIDE, "height": SIDE})
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "bars.json").write_text(json.dumps(content))


def recipe(folder):
    bars = {"type": "coco", "images": str(folder / "images"), "annotations": str(folder / "bars.json"), "rotated": True}
    body = {"type": "resnet", "depth": 18, "stem_channels": 16, "res2_channels": 16, "norm": "BN", "freeze_at": 0}
    return recipe_from_tree(
        {
            "model": {
                "type": "faster_rcnn",
                "num_classes": 2,
                "backbone": {
                    "type": "fpn",
                    "out_channels": 32,
                    "top": None,
                    "in_features": ["res3", "res4"],
                    "bottom_up": {**body, "out_features": ["res3", "res4"]},
                },
                "proposal_generator": {
                    "type": "rpn",
                    "anchor_generator": {
                        "sizes": [[20], [24]],
                        "aspect_ratios": [[0.33]],
                        "angles": [[-60, -30, 0, 30, 60, 90]],
                    },
                    "box_weights": [1.0] * 5,
                    "nms": {"pre_nms_topk_train": 200, "post_nms_topk_train": 100, "post_nms_topk_test": 50},
                },
                "roi_heads": {
                    "type": "standard_roi_heads",
                    "pooler": {"pooling": "ROIAlignRotated", "sampling_ratio": 2},
                    "sampler": {"batch_size_per_image": 64, "positive_fraction": 0.5},
                    "box_head": {"type": "fast_rcnn_conv_fc_head", "num_fc": 1, "fc_dim": 128},
                    "box_predictor": {"box_weights": [10.0, 10.0, 5.0, 5.0, 5.0]},
                },
            },
            "data": {
                "train": bars,
                "val": bars,
                "train_transforms": [{"type": "det_core.data:ResizeShortestEdge", "size": SIDE}],
                "eval_transforms": [{"type": "det_core.data:ResizeShortestEdge", "size": SIDE}],
                "workers": 0,
            },
            "train": {
                "steps": 90,
                "batch_size": 4,
                "optimizer": {"type": "torch.optim:AdamW", "lr": 0.002},
                "schedule": {"type": "det_core.engine:WarmupCosine", "warmup": 5},
                "log_every": 1,
                "device": "cpu",
            },
        }
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bars")
    write(folder)
    run("train", recipe(folder).save(folder / "bars.yaml"), "--output", folder / "run")
    return folder


def test_train_rotated_boxes_losses_fall_and_ap_is_high(trained):
    losses = [row["loss"] for row in read_scalars(trained / "run" / "scalars.jsonl") if "loss" in row]
    assert sum(losses[-5:]) < 0.4 * sum(losses[:5])
    metrics = json.loads(run("eval", trained / "run", "--split", "val", "--json").stdout)["metrics"]
    assert metrics["bbox/AP50"] > 0.95
    assert metrics["bbox/AP"] > 0.6


def test_predictions_are_drawn_and_written_with_five_numbers(trained):
    run("predict", trained / "images", "--model", trained / "run", "--output", trained / "found")
    entries = json.loads((trained / "found" / "predictions.json").read_text())
    truth = json.loads((trained / "bars.json").read_text())["annotations"]
    assert {entry["image_id"] for entry in entries} == {0, 1, 2, 3}
    for annotation in truth:
        same = [e for e in entries if all(e[key] == annotation[key] for key in ("image_id", "category_id"))]
        boxes = torch.tensor([entry["bbox"] for entry in same])
        assert boxes.shape[1] == 5
        assert rotated.iou(boxes, torch.tensor([annotation["bbox"]])).max() > 0.6
    before, after = (Image.open(trained / part / "0.png") for part in ("images", "found"))
    assert before.tobytes() != after.tobytes()


def test_boxes_are_in_pixels_of_given_image(trained):
    detector = Detector.load(trained / "run", device="cpu")
    picture = Image.open(trained / "images" / "0.png")
    small, large = (detector(image).detections for image in (picture, picture.resize((2 * SIDE, 2 * SIDE))))
    # The pictures that the model sees differ by rounding alone, which may part what is hardly found from what is not.
    for label in range(2):
        one, other = (found.boxes[found.labels == label][0] for found in (small, large))
        assert rotated.iou(other[None], (one * torch.tensor([2.0, 2.0, 2.0, 2.0, 1.0]))[None]) > 0.7
