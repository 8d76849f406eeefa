"""DensePose in recorded cases: the ground truth that a model is given, what the record fixes, what is predicted."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from det_core.recipes import Factory
from det_core.structures import Detections, Polygons, Size
from torch import Tensor, nn

Arrays = dict[str, Any]

PREFIX = "det-densepose/"
RECORDED = 5  # detections of an image whose raw outputs are kept


def is_given(inputs: Mapping[str, np.ndarray], name: str) -> bool:
    """Whether an image's ground truth has points on surfaces."""
    return f"gt/{name}/densepose_x" in inputs


def masks(inputs: Mapping[str, np.ndarray], name: str, size: Size) -> Tensor:
    """The masks of the objects as bitmaps: the published models of DensePose are given no outlines."""
    from det_core.ops.masks import rasterize

    return rasterize(Polygons.of([[ring] for ring in inputs[f"gt/{name}/polygons"]]), size)


def truth_extras(inputs: Mapping[str, np.ndarray], name: str, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """The extras of a recorded image's objects."""
    from det_densepose.structures import COARSE, FRAME, MESH, POINTS, SURFACE, UNKNOWN, mesh_id

    given = {
        key: torch.from_numpy(inputs[f"gt/{name}/densepose_{key}"]).float()
        for key in ("x", "y", "i", "u", "v", "vertex")
        if f"gt/{name}/densepose_{key}" in inputs
    }
    boxes = torch.from_numpy(inputs[f"gt/{name}/boxes"]).float()
    size = boxes[:, 2:] - boxes[:, :2]
    points = boxes[:, None, :2] + torch.stack((given["x"], given["y"]), -1) * size[:, None] / 256
    zero = torch.zeros_like(given["x"])
    charts = [given.get("i", zero - 1), given.get("u", zero), given.get("v", zero)]
    surface = torch.stack((*charts, given.get("vertex", zero - 1)), -1)
    names = inputs.get(f"gt/{name}/densepose_mesh", _meshes_of_classes(inputs[f"gt/{name}/classes"], settings))
    coarse = torch.stack([_coarse(number) for number in range(len(boxes))])
    for number in inputs.get(f"gt/{name}/densepose_absent", ()):
        surface[number] = torch.tensor([-1.0, 0, 0, -1])
        coarse[number] = UNKNOWN
    x0, y0, x1, y1 = boxes.unbind(1)
    corners = [torch.stack(corner, 1) for corner in ((x0, y0), (x1, y0), (x0, y1))]
    return {
        POINTS: points,
        SURFACE: surface,
        MESH: torch.tensor([mesh_id(str(mesh)) if mesh else -1 for mesh in names]),
        COARSE: coarse,
        FRAME: torch.stack(corners, 1),
    }


def fix(model: nn.Module, rules: Mapping[str, Any]) -> None:
    """Put what the record fixes in place of downloaded distances and of random choices."""
    branches: list[Any] = [each for each in model.modules() if hasattr(each, "densepose_predictor")]
    loss = next((each.loss for each in branches if hasattr(each, "loss")), None)
    if loss is None:
        return
    if "geodesic" in rules:
        loss.geodesics.meshes = Factory(partial(_Meshes))
    if "pixels" in rules and loss.pix_to_shape is not None:
        most = loss.pix_to_shape.max_pixels
        loss.pix_to_shape.choose = partial(_evenly, most)
    if "shape2shape_pair" in rules and loss.shape_to_shape is not None:
        text = str(rules["shape2shape_pair"])
        loss.shape_to_shape.pair = lambda names: tuple(name for name in names if name in text)


def predicted(name: str, detections: Detections) -> Arrays:
    """The raw outputs of the first detections of an image; {} of other models."""
    return {
        f"instances/{name}/densepose_{key.removeprefix(PREFIX)}": value.as_subclass(Tensor)[:RECORDED]
        for key, value in detections.extras.items()
        if key.startswith(PREFIX)
    }


def _evenly(most: int, count: int) -> Tensor:
    return torch.arange(most) * count // most if count > most else torch.arange(count)


class _Distances:
    """The rule of the record: numbers of vertices, as far apart as they differ, over how many there are."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __getitem__(self, rows: Tensor) -> Tensor:
        return (rows[:, None].float() - torch.arange(self.count, dtype=torch.float32)).abs_().div_(self.count)


class _Meshes:
    """Meshes whose distances follow the rule, and whose number of vertices stands in their name."""

    def mesh(self, name: str) -> Any:
        from det_densepose.structures import Mesh

        count = int(name.rpartition("_")[2])
        return Mesh(name, count, lambda: _Distances(count))  # type: ignore[arg-type,return-value]


def _meshes_of_classes(classes: np.ndarray, settings: Mapping[str, Any]) -> Sequence[str]:
    return [settings.get(f"DATASETS.CLASS_TO_MESH_NAME_MAPPING.{label}", "") for label in classes.tolist()]


def _coarse(number: int) -> Tensor:
    y, x = np.mgrid[0:256, 0:256]
    return torch.from_numpy((((y // 48) * 5 + x // 64 + number) % 15).astype(np.uint8))
