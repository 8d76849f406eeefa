"""What det's conformance kit needs to make the parts of this package small; see `det_devkit.conformance`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from det_core.structures import Targets
from det_devkit.conformance import conformance

from det_densepose.structures import COARSE, FRAME, MESH, POINTS, SURFACE

__all__ = ["told"]

_SMALL = {
    "pooling": {"resolution": 4},
    "decoder": {"out_channels": 8, "conv_dim": 8},
    "densepose_head": {"type": "det_densepose.models:DensePoseV1ConvXHead", "num_conv": 1, "conv_dim": 8},
    "densepose_predictor": {"type": "det_densepose.models:DensePoseChartPredictor", "num_parts": 2},
}
_NETWORK = {"channels": [4, 8, 12, 16], "modules": [1, 1, 1], "blocks": 1, "stem_channels": 4}


def _with_surface(targets: Targets) -> Targets:
    """Each object with two points on its surface, and one coarse part all over its box."""
    count, boxes = len(targets), targets.boxes
    low, size = boxes[:, None, :2], (boxes[:, 2:4] - boxes[:, :2])[:, None]
    shares = torch.tensor([[0.25, 0.25], [0.6, 0.7]], device=boxes.device)
    values = torch.tensor([[1.0, 0.3, 0.6, -1], [2.0, 0.8, 0.1, -1]], device=boxes.device)
    x0, y0, x1, y1 = boxes.unbind(1)
    corners = [torch.stack(corner, 1) for corner in ((x0, y0), (x1, y0), (x0, y1))]
    extras = {
        POINTS: low + shares * size,
        SURFACE: values.expand(count, 2, 4).clone(),
        MESH: targets.labels.new_full((count,), -1),
        COARSE: torch.ones((count, 256, 256), dtype=torch.uint8, device=boxes.device),
        FRAME: torch.stack(corners, 1) if count else boxes.new_zeros((0, 3, 2)),
    }
    return replace(targets, extras={**targets.extras, **extras})


def _rendered(folder: Path) -> dict[str, Any]:
    """Two pictures of the synthetic figure."""
    from det_densepose.render.scene import Scenery
    from det_densepose.render.writing import write_dataset

    file = write_dataset(folder, 2, Scenery((64, 64), (1, 1)), per_part=2)
    return {"images": str(folder / "images"), "annotations": str(file), "body": "det_figure"}


told = conformance(
    "det-densepose",
    examples={
        "backbones/hrnet": _NETWORK,
        "backbones/hrfpn": {"out_channels": 8, "bottom_up": {"type": "det-densepose/hrnet", **_NETWORK}},
        "heads/densepose_head": _SMALL,
        "heads/densepose_roi_heads": {
            "stage": {"type": "det-core/standard_roi_heads", "pooler_resolution": 2},
            "densepose": _SMALL,
        },
        "datasets/densepose": _rendered,
        "evaluators/densepose": {"body": "det_figure"},
    },
    truth=_with_surface,
)
