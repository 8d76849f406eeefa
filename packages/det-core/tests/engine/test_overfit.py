import io
from pathlib import Path

import pytest
from det_core.engine import read_scalars, train
from det_core.recipes import recipe_from_tree
from rich.console import Console

ROOT = Path(__file__).parents[4]
IMAGES = ROOT / "tests" / "data" / "blood-cells"
BACKBONE = ROOT / "examples" / "blood-cells" / "mobilenet_v2-b0353104.pth"


def recipe(steps):
    four = {"type": "coco", "images": str(IMAGES / "images"), "annotations": str(IMAGES / "instances.json")}
    small = [{"type": "det_core.data:ResizeShortestEdge", "size": 208}]
    return recipe_from_tree(
        {
            "model": {
                "type": "faster_rcnn",
                "num_classes": 3,
                "backbone": {
                    "type": "fpn",
                    "out_channels": 64,
                    "top": None,
                    "bottom_up": {
                        "type": "torchvision",
                        "name": "mobilenet_v2",
                        "strides": [8, 16],
                        "freeze_at": 4,
                    },
                },
                "proposal_generator": {
                    "type": "rpn",
                    "anchor_generator": {"type": "det_core.models:AnchorGenerator", "sizes": [[20], [48]]},
                    "nms": {"pre_nms_topk_train": 300, "post_nms_topk_train": 150, "post_nms_topk_test": 100},
                },
                "roi_heads": {
                    "type": "standard_roi_heads",
                    "pooler": {"sampling_ratio": 2},
                    "sampler": {"batch_size_per_image": 64, "positive_fraction": 0.5},
                    "box_head": {"type": "fast_rcnn_conv_fc_head", "num_fc": 1, "fc_dim": 256},
                },
            },
            "weights": {"source": str(BACKBONE), "into": "backbone.bottom_up"},
            "data": {
                "train": four,
                "val": four,
                "train_transforms": small,
                "eval_transforms": small,
                "workers": 0,
            },
            "train": {
                "steps": steps,
                "batch_size": 4,
                "optimizer": {"type": "torch.optim:AdamW", "lr": 0.002},
                "schedule": {"type": "det_core.engine:WarmupCosine", "warmup": 5},
                "log_every": 1,
                "device": "cpu",
            },
        }
    )


@pytest.mark.skipif(not BACKBONE.exists(), reason="needs the backbone in examples/blood-cells of the repository")
def test_four_real_images_are_overfit(tmp_path):
    outcome = train(recipe(steps=90), tmp_path, console=Console(file=io.StringIO()))
    losses = [row["loss"] for row in read_scalars(tmp_path / "scalars.jsonl") if "loss" in row]
    assert sum(losses[-5:]) < 0.4 * sum(losses[:5])
    assert outcome.metrics["bbox/AP50"] > 0.95
    assert outcome.metrics["bbox/AP"] > 0.9
