"""What follows an exported DensePose: the embeddings of meshes joined to those of pixels, and IUV from plain arrays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from det_core.errors import StructureError
from det_core.structures import Prediction
from numpy.typing import NDArray

from det_densepose.results.conversion import ChartResult, VertexResult, chart_result, vertex_result
from det_densepose.structures import CHART_FIELDS, EMBEDDING_FIELDS, PREFIX, VERTICES, MeshEmbeddings

__all__ = ["AttachMeshes", "iuv_of_outputs", "persons_of_outputs", "vertices_of_outputs"]


class AttachMeshes:
    """Joins the embeddings of vertices, constants of a file, to those of pixels, so that vertices can be determined.

    Args:
        mesh_of_label: the name of the mesh of each label.
    """

    def __init__(self, mesh_of_label: Sequence[str]) -> None:
        self.mesh_of_label = tuple(mesh_of_label)

    def __call__(self, prediction: Prediction) -> Prediction:
        """The prediction with the embeddings of meshes; StructureError where an embedding is missing."""
        outputs, key = prediction.detections, f"{PREFIX}embedding"
        tables = {name: value for name, value in prediction.extras.items() if name.startswith(VERTICES)}
        if outputs is None or key not in outputs.extras or not tables:
            raise StructureError("prediction", "needs the embeddings of pixels and of vertices", fix="export it again")
        named = {name.removeprefix(VERTICES): value for name, value in tables.items()}
        joined = MeshEmbeddings.of(outputs.extras[key], named, self.mesh_of_label)
        detections = replace(outputs, extras={**outputs.extras, key: joined})
        extras = {name: value for name, value in prediction.extras.items() if name not in tables}
        return replace(prediction, detections=detections, extras=extras)


def persons_of_outputs(
    outputs: Mapping[str, Any], mesh_of_label: Sequence[str] = ()
) -> Iterator[ChartResult | VertexResult]:
    """The persons of an exported file, from its outputs by their names; NumPy alone.

    Args:
        outputs: arrays: "boxes" (N, 4), "scores" (N,), "labels" (N,), "detections.det-densepose/FIELD" (N, C, Z, Z),
            and, of models of embeddings, "constants.det-densepose/vertices/MESH" (V, D).
        mesh_of_label: the name of the mesh of each label; by default the only one.
    """
    names = {**CHART_FIELDS, **EMBEDDING_FIELDS}
    arrays = {name: outputs[key] for name in names if (key := f"detections.{PREFIX}{name}") in outputs}
    prefix = f"constants.{VERTICES}"
    tables = {name.removeprefix(prefix): value for name, value in outputs.items() if name.startswith(prefix)}
    for row, box in enumerate(outputs["boxes"]):
        fields = {name: value[row] for name, value in arrays.items()}
        if "embedding" in fields:
            mesh = mesh_of_label[int(outputs["labels"][row])] if mesh_of_label else next(iter(tables))
            yield vertex_result(fields, box, tables[mesh], mesh)
        else:
            yield chart_result(fields, box)


def iuv_of_outputs(outputs: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Part, 255 u and 255 v of every pixel, uint8 (height, width, 3), of a file of charts; the best score on top."""
    picture = np.zeros((*size, 3), np.uint8)
    for person, target, inside in _placed(outputs, (), picture):
        if isinstance(person, ChartResult):
            mask = person.mask[inside]
            target[mask] = person.quantized.transpose(1, 2, 0)[inside][mask]
    return picture


def vertices_of_outputs(
    outputs: Mapping[str, Any], size: tuple[int, int], mesh_of_label: Sequence[str] = ()
) -> NDArray[np.int32]:
    """The nearest vertex of every pixel, int32 (height, width), -1 in the background; the best score on top."""
    picture = np.full(size, -1, np.int32)
    for person, target, inside in _placed(outputs, mesh_of_label, picture):
        if isinstance(person, VertexResult):
            mask = person.mask[inside]
            target[mask] = person.vertices[inside][mask]
    return picture


def _placed(
    outputs: Mapping[str, Any], mesh_of_label: Sequence[str], picture: NDArray[Any]
) -> Iterator[tuple[ChartResult | VertexResult, NDArray[Any], Any]]:
    """Persons by rising score, the part of the picture that each covers, and which of its pixels these are."""
    order = np.argsort(np.asarray(outputs["scores"]), kind="stable")
    rows = {
        name: value if name.startswith("constants.") else np.asarray(value)[order]
        for name, value in outputs.items()
        if name in ("boxes", "scores", "labels") or PREFIX in name
    }
    for person in persons_of_outputs(rows, mesh_of_label):
        x, y, width, height = person.box
        x0, y0 = max(x, 0), max(y, 0)
        x1, y1 = max(min(x + width, picture.shape[1]), x0), max(min(y + height, picture.shape[0]), y0)
        yield person, picture[y0:y1, x0:x1], (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
