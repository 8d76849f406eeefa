"""Small configurations of this package's components for the conformance kit; see `det_devkit.conformance`."""

import json
from pathlib import Path
from typing import Any

from det_devkit.conformance import conformance
from PIL import Image

__all__ = ["settings"]

_SMALL = {"region_layers": {"conv_dim": 8, "fc_dim": 16, "resolution": 4}}


def _points(folder: Path) -> dict[str, Any]:
    """An image of an object with two labelled points."""
    Image.new("RGB", (40, 30), "grey").save(folder / "1.png")
    about = {"bbox": [5, 5, 20, 20], "point_coords": [[6, 6], [24, 24]], "point_labels": [1, 0]}
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": 40, "height": 30}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, **about}],
        "categories": [{"id": 1, "name": "cell"}],
    }
    (folder / "points.json").write_text(json.dumps(content), encoding="utf-8")
    return {"images": str(folder), "annotations": str(folder / "points.json")}


settings = conformance(
    "det-pointrend",
    examples={
        "heads/pointrend_mask_head": {**_SMALL, "subdivision": {"steps": 3}},
        "heads/implicit_pointrend_mask_head": {
            **_SMALL,
            "point_head": {"type": "det_pointrend.layers:ImplicitPointHead", "fc_dim": 8, "num_fc": 1},
            "subdivision": {"points": 64},
        },
        "heads/pointrend_sem_seg_head": {"num_points": 128, "subdivision_points": 64},
        "datasets/coco_points": _points,
    },
)
