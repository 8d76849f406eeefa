"""Write the YAML files of `detectron2.model_zoo`: python tools/model_zoo.py tests/reference/zoo

Recorded is what each published YAML configuration changes from the defaults; those that are Python files are left out.
"""

import gzip
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

TARGET = Path(__file__).parents[1] / "src/det_detectron2/layer/model_zoo/configs"


_SHORT = {
    "COCO-Detection/retinanet_R_50_FPN": "COCO-Detection/faster_rcnn_R_50_FPN",
    "COCO-InstanceSegmentation/mask_rcnn_R_50_C4": "COCO-Detection/faster_rcnn_R_50_C4",
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN": "COCO-Detection/faster_rcnn_R_50_FPN",
    "COCO-Keypoints/keypoint_rcnn_R_50_FPN": "COCO-Detection/faster_rcnn_R_50_FPN",
    "COCO-PanopticSegmentation/panoptic_fpn_R_50": "COCO-Detection/faster_rcnn_R_50_FPN",
}
"""Models whose recorded 1x configuration is a Python file; its YAML file has the 3x settings and another's schedule."""


def with_short(settings: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """The settings with those of the YAML files of `_SHORT`."""
    for name, other in _SHORT.items():
        schedule = {key: settings[f"{other}_1x"].get(key) for key in ("SOLVER.STEPS", "SOLVER.MAX_ITER")}
        short = {key: value for key, value in settings[f"{name}_3x"].items() if key not in schedule}
        settings[f"{name}_1x"] = short | {key: value for key, value in schedule.items() if value is not None}
    return settings


_BASES = {
    "Base-RCNN-FPN": "COCO-Detection/faster_rcnn_R_50_FPN_1x",
    "Base-RCNN-C4": "COCO-Detection/faster_rcnn_R_50_C4_1x",
    "Base-RCNN-DilatedC5": "COCO-Detection/faster_rcnn_R_50_DC5_1x",
    "Base-RetinaNet": "COCO-Detection/retinanet_R_50_FPN_1x",
    "COCO-Keypoints/Base-Keypoint-RCNN-FPN": "COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x",
    "COCO-PanopticSegmentation/Base-Panoptic-FPN": "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x",
}
"""Files that configurations of programs name as `_BASE_`: the settings of a model without its weights."""


def tree_of(settings: Mapping[str, object]) -> dict[str, Any]:
    """Dotted settings as a tree."""
    tree: dict[str, Any] = {}
    for path, value in settings.items():
        *folders, last = path.split(".")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = value
    return tree


def main() -> None:
    """Read the recorded configurations and write those of YAML files."""
    settings = {}
    for file in sorted(Path(sys.argv[1]).glob("*.json.gz")):
        recorded = json.loads(gzip.decompress(file.read_bytes()))
        settings |= {name: each["settings"] for name, each in recorded.items() if "model.kind" not in each["settings"]}
    settings = with_short(settings)
    for name, other in _BASES.items():
        settings[name] = {key: value for key, value in settings[other].items() if key != "MODEL.WEIGHTS"}
    shutil.rmtree(TARGET, ignore_errors=True)
    for name, changed in settings.items():
        file = TARGET / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(tree_of(changed), default_flow_style=None, width=120), "utf-8")
    sys.stdout.write(f"{len(settings)} configurations in {TARGET}\n")


if __name__ == "__main__":
    main()
