"""Small components of this package for det's conformance kit; see `det_devkit.conformance`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from det_core.structures import Prediction, Sample, Targets
from det_devkit.conformance import conformance
from torch import nn

from det_densepose.structures import COARSE, FRAME, GRID, MESH, NUM_PARTS, POINTS, PREFIX, SURFACE

__all__ = ["components"]

_SMALL = {
    "pooler": {"type": "det_core.ops.roi:ROIPooler", "resolution": 4, "pooling": "ROIAlign", "sampling_ratio": 2},
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


def _with_charts(prediction: Prediction, sample: Sample) -> Prediction:
    """Each object with the chart and coordinates of the nearest annotated point in every cell of its box."""
    targets, detections = sample.targets, prediction.detections
    if targets is None or detections is None or not {GRID, COARSE} <= targets.extras.keys():
        return prediction
    targets, side = targets.without_crowd(), 64
    count = len(targets)
    surface = targets.extras[SURFACE].as_subclass(torch.Tensor)
    steps = (torch.arange(side) + 0.5) * 256 / side
    cells = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).reshape(1, -1, 2).expand(count, -1, 2)
    far = torch.cdist(cells, targets.extras[GRID].float()) + 1e4 * (surface[:, None, :, 0] < 0)
    nearest = surface.gather(1, far.argmin(2)[..., None].expand(-1, -1, 4)).reshape(count, side, side, 4)
    parts = nn.functional.one_hot(nearest[..., 0].long().clamp(min=0), NUM_PARTS + 1).permute(0, 3, 1, 2).float()
    body = nn.functional.interpolate(
        (targets.extras[COARSE].as_subclass(torch.Tensor)[:, None] > 0).float(), (side, side)
    )
    shape = (count, NUM_PARTS + 1, side, side)
    fields = {
        "coarse_segm": torch.cat((1 - body, body), 1),
        "fine_segm": parts,
        "u": nearest[..., 1][:, None].expand(shape).clone(),
        "v": nearest[..., 2][:, None].expand(shape).clone(),
    }
    extras = {PREFIX + name: 10 * value if "segm" in name else value for name, value in fields.items()}
    return replace(prediction, detections=replace(detections, extras=extras))


def _rendered(folder: Path) -> dict[str, Any]:
    """Two pictures of the synthetic figure."""
    from det_densepose.render.scene import Scenery
    from det_densepose.render.writing import write_dataset

    file = write_dataset(folder, 2, Scenery((64, 64), (1, 1)), per_part=2)
    return {"images": str(folder / "images"), "annotations": str(file), "body": "det_figure"}


components = conformance(
    "det-densepose",
    examples={
        "backbones/hrnet": _NETWORK,
        "backbones/hrfpn": {"out_channels": 8, "bottom_up": {"type": "det-densepose/hrnet", **_NETWORK}},
        "heads/densepose_head": _SMALL,
        "heads/densepose_roi_heads": {
            "stage": {"type": "det-core/standard_roi_heads", "pooler": {"resolution": 2}},
            "densepose": _SMALL,
        },
        "datasets/densepose": _rendered,
        "evaluators/densepose": {"body": "det_figure"},
    },
    annotate=_with_surface,
    perfect=_with_charts,
)
