"""A small detector of FBNet blocks, a batch for it, and a teacher."""

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import torch
from det_core import recipes
from det_core.recipes import recipe_from_tree
from det_core.structures import ImageBatch, Targets
from PIL import Image

TABLE = {
    "trunk": "conv_k3 8 s2 | ir_k3 8 s2 e2 | ir_k3_se 8 s2 e2 | ir_k3 16 s2 e2",
    "rpn": "ir_k3 16 e2",
    "bbox": "ir_k3 16 s2 e2",
    "mask": "ir_k3 16 e2; ir_k3 8 s-2 e2",
    "kpts": "ir_k3 16 e2; ir_k3 8 s-2 e2",
    "basic_args": {"dw_skip_bnrelu": True},
}
BLOCKS = {"arch": TABLE}


def c4_tree(**roi_heads):
    """Faster R-CNN on the last map of the trunk, as data."""
    return {
        "type": "faster_rcnn",
        "num_classes": 2,
        "backbone": {"type": "det-mobile/fbnet_c4", "blocks": BLOCKS},
        "proposal_generator": {
            "type": "rpn",
            "in_features": ["trunk3"],
            "anchor_generator": {"type": "anchor_generator", "sizes": [[16, 32]]},
            "head": {"type": "det-mobile/fbnet_rpn_head", "blocks": BLOCKS},
        },
        "roi_heads": {
            "type": "standard_roi_heads",
            "in_features": ["trunk3"],
            "pooler": {"resolution": 6, "sampling_ratio": 2},
            "sampler": {"batch_size_per_image": 16},
            "box_head": {"type": "det-mobile/fbnet_box_head", "blocks": BLOCKS},
            **roi_heads,
        },
    }


def pyramid(**more):
    """A pyramid on the trunk's three coarsest maps, as data."""
    bottom = {"type": "det-mobile/fbnet", "blocks": BLOCKS}
    levels = ["trunk1", "trunk2", "trunk3"]
    return {"type": "fpn", "in_features": levels, "out_channels": 16, "bottom_up": bottom, **more}


def built(tree, seed=0):
    """The model that data describe, with weights drawn after `seed`."""
    torch.manual_seed(seed)
    return recipe_from_tree({"model": tree}).build_model()


def images(count=2, size=(96, 128)):
    """Random pixels."""
    pixels = torch.randint(0, 256, (count, 3, *size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return ImageBatch.stack(list(pixels))


def objects(extras=None, boxes=((8.0, 8.0, 60.0, 50.0), (40.0, 30.0, 90.0, 90.0))):
    """Two objects of an image."""
    return Targets(boxes=torch.tensor(boxes), labels=torch.tensor([0, 1]), extras=extras or {})


@cache
def folder():
    """A folder that is removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="det-mobile-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@cache
def teacher():
    """The node of a teacher of two classes with random weights."""
    recipe = Path(__file__).with_name("teacher.yaml")
    torch.manual_seed(5)
    torch.save(recipes.load(recipe).build_model().state_dict(), folder() / "teacher.pth")
    return {"source": str(recipe), "weights": str(folder() / "teacher.pth")}


def subclass_file(place, *extras):
    """An annotation file of one image, in the folder of that image, with an object for each of `extras`."""
    Image.new("RGB", (64, 48)).save(place / "a.png")
    rows = [
        {"id": i, "image_id": 1, "category_id": 7, "bbox": [4 * i, 4, 20, 20], "area": 400, "iscrowd": 0, **each}
        for i, each in enumerate(extras)
    ]
    image = {"id": 1, "file_name": "a.png", "width": 64, "height": 48}
    content = {"images": [image], "annotations": rows, "categories": [{"id": 7, "name": "cup"}]}
    (place / "a.json").write_text(json.dumps(content))
    return place / "a.json"
