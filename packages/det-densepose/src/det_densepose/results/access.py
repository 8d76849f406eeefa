"""DensePose of a detector's result, per person and per pixel."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from det_core.errors import ConfigError
from det_core.structures import Detections
from numpy.typing import NDArray
from torch import Tensor

from det_densepose.results.conversion import ChartResult, VertexResult, chart_result, vertex_result
from det_densepose.structures import CHART_FIELDS, EMBEDDING_FIELDS, PREFIX

__all__ = ["HasDetections", "iuv", "persons", "raw_fields", "vertices"]


class HasDetections(Protocol):
    """Such as `det_core`'s `Result`."""

    @property
    def detections(self) -> Detections:
        """The objects, best first."""
        ...


def raw_fields(detections: Detections) -> dict[str, Tensor]:
    """The raw outputs (N, C, Z, Z) by their names; ConfigError where a model without DensePose made the detections."""
    names = {**CHART_FIELDS, **EMBEDDING_FIELDS}
    fields = {name: detections.extras[PREFIX + name] for name in names if PREFIX + name in detections.extras}
    if "embedding" not in fields and not {"coarse_segm", "fine_segm", "u", "v"} <= set(fields):
        fix = "use a model of det-densepose, such as densepose_rcnn_r50_fpn_s1x"
        raise ConfigError("densepose", "these detections have no DensePose", f"extras: {list(detections.extras)}", fix)
    return fields


def _detections(result: HasDetections | Detections) -> Detections:
    return result if isinstance(result, Detections) else result.detections


def persons(result: HasDetections | Detections, min_score: float = 0.0) -> list[ChartResult | VertexResult]:
    """Labels, u, v and confidences, or vertices, of each object in the order of the detections.

    Args:
        result: result of a detector or its detections, in the pixels of the image.
        min_score: minimum score of objects, in [0, 1].

    Raises:
        ConfigError: the model makes no DensePose.
    """
    detections = _detections(result)
    if not len(detections):
        return []
    fields = raw_fields(detections)
    arrays = {name: value.as_subclass(Tensor).detach().cpu().float().numpy() for name, value in fields.items()}
    rows = [row for row, score in enumerate(detections.scores.tolist()) if score >= min_score]
    boxes = detections.boxes.detach().cpu().numpy()
    if "embedding" not in arrays:
        return [chart_result({name: each[row] for name, each in arrays.items()}, boxes[row]) for row in rows]
    tables, names = _mesh_embeddings(fields["embedding"])
    results: list[ChartResult | VertexResult] = []
    labels = detections.labels.tolist()
    for row in rows:
        mesh = names[labels[row]]
        results.append(
            vertex_result({name: each[row] for name, each in arrays.items()}, boxes[row], tables[mesh], mesh)
        )
    return results


def _mesh_embeddings(embedding: Any) -> tuple[Mapping[str, NDArray[np.float32]], tuple[str, ...]]:
    if not hasattr(embedding, "vertices"):
        fix = "keep the extra as the model gave it"
        raise ConfigError("densepose", "the embeddings of pixels have lost those of the vertices", fix=fix)
    tables = {name: value.detach().cpu().float().numpy() for name, value in embedding.vertices.items()}
    for name, table in tables.items():
        if not np.any(table):
            problem = f"the embeddings of mesh {name!r} are all zero, so that every vertex is as near as any other"
            raise ConfigError("densepose", problem, fix="train the model, or load weights that hold them")
    return tables, embedding.mesh_of_label


def iuv(result: HasDetections | Detections, min_score: float = 0.0) -> NDArray[np.uint8]:
    """Part, 255 u and 255 v of every pixel of the image, uint8 (H, W, 3); 0 in the background.

    Where persons overlap, the one of the higher score is on top.

    Raises:
        ConfigError: the model makes no DensePose, or vertices in place of charts.
    """
    detections = _detections(result)
    picture = np.zeros((*detections.size, 3), np.uint8)
    for each in _by_rising_score(detections, min_score):
        if not isinstance(each, ChartResult):
            raise ConfigError("densepose.iuv", "this model predicts vertices, not charts", fix="use densepose.vertices")
        part, inside = _within(each.box, detections.size)
        target, values = picture[part], each.quantized.transpose(1, 2, 0)[inside]
        mask = each.mask[inside]
        target[mask] = values[mask]
    return picture


def vertices(result: HasDetections | Detections, min_score: float = 0.0) -> NDArray[np.int32]:
    """The nearest vertex of every pixel of the image, int32 (H, W); -1 in the background.

    Of which mesh it is stands in `persons`. Where objects overlap, the one of the higher score is on top.
    """
    detections = _detections(result)
    picture = np.full(detections.size, -1, np.int32)
    for each in _by_rising_score(detections, min_score):
        if not isinstance(each, VertexResult):
            raise ConfigError("densepose.vertices", "this model predicts charts, not vertices", fix="use densepose.iuv")
        part, inside = _within(each.box, detections.size)
        mask = each.mask[inside]
        picture[part][mask] = each.vertices[inside][mask]
    return picture


def _by_rising_score(detections: Detections, min_score: float) -> list[ChartResult | VertexResult]:
    confident = detections[detections.scores >= min_score]
    return persons(confident[confident.scores.argsort(stable=True)])


def _within(box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[Any, Any]:
    """Which pixels of the image a box covers, and which of its own pixels these are."""
    x, y, width, height = box
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + width, size[1]), min(y + height, size[0])
    x1, y1 = max(x1, x0), max(y1, y0)
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
