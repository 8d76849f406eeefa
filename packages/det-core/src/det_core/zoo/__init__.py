"""The recipes that come with core: files in this folder, named as published in lower case.

`recipes.json` lists them: folder of the published configuration -> name of the recipe -> name of the configuration. The
names of some folders are put in front where others have a configuration of the same name.
"""

import json
from pathlib import Path

__all__ = ["PUBLISHED", "TORCHVISION", "UNPUBLISHED"]

# Of parts that are published, in a configuration that is not.
UNPUBLISHED = ("rotated_faster_rcnn_r50_fpn_3x",)

_RECIPES: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("recipes.json").read_text("utf-8"))

TORCHVISION = {"torchvision": _RECIPES["torchvision"]}
PUBLISHED = {folder: names for folder, names in _RECIPES.items() if folder not in TORCHVISION}
