"""The recipes that come with core: files in this folder, named as published in lower case.

`recipes.json` lists them: folder of the published configuration -> name of the recipe -> name of the configuration. The
names of some folders are put in front where others have a configuration of the same name.
"""

import json
from pathlib import Path

__all__ = ["PUBLISHED", "TORCHVISION", "UNPUBLISHED"]

# Of parts that are published, in a configuration that is not.
UNPUBLISHED = ("rotated_faster_rcnn_r50_fpn_3x",)

PUBLISHED: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("recipes.json").read_text("utf-8"))

# Of torchvision, folder by folder as above.
TORCHVISION: dict[str, dict[str, str]] = {
    "torchvision": {
        f"torchvision_{name}": name
        for name in (
            "fasterrcnn_resnet50_fpn",
            "fasterrcnn_resnet50_fpn_v2",
            "fcos_resnet50_fpn",
            "keypointrcnn_resnet50_fpn",
            "maskrcnn_resnet50_fpn",
            "maskrcnn_resnet50_fpn_v2",
            "retinanet_resnet50_fpn",
            "retinanet_resnet50_fpn_v2",
        )
    }
}
