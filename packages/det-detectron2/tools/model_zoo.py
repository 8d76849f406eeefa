"""Write the settings of `detectron2.model_zoo` from the recorded ones: python tools/model_zoo.py tests/reference/zoo

Recorded is what each published YAML configuration changes from the defaults; those that are Python files are left out.
"""

import gzip
import json
import sys
from pathlib import Path

TARGET = Path(__file__).parents[1] / "src/det_detectron2/layer/model_zoo/settings.json.gz"


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


def main() -> None:
    """Read the recorded configurations and write those of YAML files."""
    settings = {}
    for file in sorted(Path(sys.argv[1]).glob("*.json.gz")):
        recorded = json.loads(gzip.decompress(file.read_bytes()))
        settings |= {name: each["settings"] for name, each in recorded.items() if "model.kind" not in each["settings"]}
    text = json.dumps(with_short(settings), separators=(",", ":"), sort_keys=True)
    TARGET.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    sys.stdout.write(f"{len(settings)} configurations in {TARGET}\n")


if __name__ == "__main__":
    main()
