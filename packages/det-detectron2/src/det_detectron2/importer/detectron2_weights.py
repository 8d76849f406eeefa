"""Initial weights of a published model as the `weights` section of a recipe."""

import re
from typing import Any

from det_detectron2.importer.settings import Settings

__all__ = ["weights_section"]

# Classification networks, by their folder or by the name of the file.
_CLASSIFIER = re.compile(r"ImageNetPretrained/|(?:^|/)(?:[RX]-\d+|resne[xt]+\d+|RegNet[XY])[^/]*$", re.IGNORECASE)


def weights_section(s: Settings, model: dict[str, Any]) -> dict[str, Any] | None:
    """Source and target of the initial weights; None for random initialization.

    Classification weights are loaded into the backbone, and into the stage of it in the RoI heads. Detector weights,
    which may be of other classes, are loaded wherever shapes fit, as in Detectron2.
    """
    source = s["MODEL.WEIGHTS"]
    if not source:
        return None
    node: dict[str, Any] = {"source": source}
    if _CLASSIFIER.search(source):
        network = model["backbone"].get("bottom_up", model["backbone"])
        node["into"] = "backbone" if network is model["backbone"] else "backbone.bottom_up"
        if model.get("roi_heads", {}).get("type") == "res5_roi_heads":
            node["also"] = ["roi_heads.res5"]
        if "deformable_stages" in network:  # no classification network has offsets
            node["skip"] = ["*.conv2_offset"]
    else:
        node["match"] = "shapes"
    return node
