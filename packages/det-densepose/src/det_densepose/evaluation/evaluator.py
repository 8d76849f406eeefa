"""Average precision of DensePose: by geodesic point similarity, with and without the overlap of masks."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from det_core.errors import ConfigError, DataError, StructureError
from det_core.evaluation.per_image import PerImage, detections_and_targets
from det_core.structures import Detections, Polygons, Prediction, Sample, Targets
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from det_densepose.bodies.body import FIGURE, Charts, Distances, figure
from det_densepose.bodies.published import BodyFolder
from det_densepose.data.dataset import IGNORED
from det_densepose.evaluation.alignment import mesh_alignment
from det_densepose.evaluation.image import DetectedObject, GroundTruthObject, score_image
from det_densepose.evaluation.matching import ImageClass, averages, curves, thresholds_from
from det_densepose.evaluation.regions import encode, gt_mask_rle, pasted_rle
from det_densepose.evaluation.similarity import (
    GROUP_OF_PART,
    KAPPA_OF_GROUP,
    MESH_KAPPA,
    ChartReader,
    GroundTruthPoints,
    VertexReader,
)
from det_densepose.results.access import raw_fields
from det_densepose.results.conversion import channels_at, chart_result, foreground, int_box, nearest_vertices
from det_densepose.structures import COARSE, FRAME, GRID, MESH, PREFIX, SURFACE, UNKNOWN, has_points, mesh_id

__all__ = ["DensePoseEvaluator"]

_NAMES = {"gps": "densepose_gps", "gpsm": "densepose_gpsm", "segm": "densepose_segm"}
_KAPPAS = np.array(KAPPA_OF_GROUP)[np.array(GROUP_OF_PART)]


class DensePoseEvaluator(PerImage[dict[int, ImageClass]]):
    """AP and AR by COCO's rules and DensePose's additions, of charts or of vertices, computed while images come.

    GPS does not depend on other images, so that each is scored at once and only its similarities are kept: some hundred
    bytes, whatever the size of the predictions. No prediction is stored.

    Args:
        classes: names of the classes; the label is the index.
        bodies: folder of bodies, with the charts and distances of the ground truth; None for the synthetic figure.
        body: name of the body of chart annotations.
        min_similarity: lowest similarity threshold, in (0, 1); 0.2 for animals, as published, which adds AP20, AP30 and
            AP40.
        max_detections: maximum number of detections per class and image.
        key_vertices: JSON file {mesh: {name: vertex}} with corresponding vertices of meshes; None: mesh alignment is
            not evaluated.

    Attributes:
        notes: key of a missing metric -> reason; set by `result`.
    """

    def __init__(
        self,
        classes: Sequence[str],
        bodies: Path | None = None,
        body: str = "smpl_27554",
        min_similarity: float = 0.5,
        max_detections: int = 20,
        key_vertices: Path | None = None,
    ) -> None:
        super().__init__()
        if not 0 < min_similarity <= 0.95 or max_detections < 1:
            found = f"got {min_similarity} and {max_detections}"
            raise ConfigError("min_similarity", "must lie in (0, 0.95], and max_detections be at least 1", found)
        self.classes, self.max_detections = tuple(classes), max_detections
        self._bodies, self._body = BodyFolder(bodies), body
        self._thresholds = thresholds_from(min_similarity)
        self._charts = lru_cache(maxsize=1)(self._load_charts)
        self._distances = lru_cache(maxsize=None)(self._load_distances)
        self._key_vertices = None if key_vertices is None else _read_key_vertices(Path(key_vertices))
        self._alignment: dict[str, float] = {}
        self.notes: dict[str, str] = {}

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image.

        Raises:
            DataError: the sample has no ground truth, or a file of the body is missing.
            StructureError: the prediction is not of this image or these classes.
            ConfigError: the model predicts only a part of DensePose. Detections without any have no points.
        """
        self.require_new(sample)
        detections, targets = detections_and_targets(prediction, sample)
        if len(detections) and not 0 <= int(detections.labels.min()) <= int(detections.labels.max()) < len(
            self.classes
        ):
            raise StructureError(f"image {sample.id}", "its prediction has a label without a class")
        described = any(f"{PREFIX}{name}" in detections.extras for name in ("coarse_segm", "fine_segm", "embedding"))
        fields = raw_fields(detections) if len(detections) and described else {}
        tables = _vertex_tables(fields)
        if self._key_vertices is not None and tables and not self._alignment:
            self._align(tables)
        region = targets.image_extras.get(IGNORED)
        self._images[sample.id] = score_image(
            self._gt_objects(targets, sample, bool(tables) if fields else None, tables),
            self._detected(detections, fields, tables),
            None if region is None else region.as_subclass(Tensor).reshape(sample.size).numpy() > 0,
            self._distances,
            self.max_detections,
        )

    def state(self) -> Any:
        """The images added so far, and the alignment of meshes."""
        return super().state(), self._alignment

    def merge(self, states: Sequence[Any]) -> None:
        """Take the images of all processes; an image of several processes counts once."""
        super().merge([images for images, _ in states])
        self._alignment = next((alignment for _, alignment in states if alignment), {})

    def result(self) -> dict[str, float]:
        """{"densepose_gps/AP": ..., "densepose_gps/AP50", ..., "densepose_gps/AP/NAME"}, and of gpsm and segm.

        Values are in [0, 1]; "densepose_mesh_alignment/GE" and the like are in meters, "/GPS" in [0, 1]. With several
        classes there are also metrics per class. Metrics without objects are omitted, with the reason in `notes`.
        """
        self.notes, figures = {}, {}
        images = [self._images[key] for key in self.image_ids]
        for kind, name in _NAMES.items():
            pr_curves = curves(images, len(self.classes), kind, self._thresholds)
            values = averages(pr_curves)
            if len(self.classes) > 1:
                for label, each in enumerate(self.classes):
                    precision = pr_curves.precision[:, :, label, 0]
                    values[f"AP/{each}"] = float(precision[precision > -1].mean()) if (precision > -1).any() else None
            for key, value in values.items():
                if value is None:
                    self.notes[f"{name}/{key}"] = "no ground-targets object has points of this kind"
                else:
                    figures[f"{name}/{key}"] = value
        return figures | {f"densepose_mesh_alignment/{key}": value for key, value in self._alignment.items()}

    def _load_charts(self) -> Charts:
        charts = figure().charts if self._body == FIGURE else self._bodies.charts()
        if charts is None:
            raise DataError(f"body {self._body}", "has no charts")
        return charts

    def _load_distances(self, mesh: str) -> Distances:
        if mesh == "" and self._body != FIGURE:
            return self._bodies.chart_distances()
        return self._bodies.body(mesh or self._body).distances()

    def _align(self, tables: Mapping[str, NDArray[np.float32]]) -> None:
        names = {name: table for name, table in tables.items() if name in (self._key_vertices or {})}
        distances = {name: self._distances(name) for name in names}
        self._alignment = mesh_alignment(names, self._key_vertices or {}, distances)

    def _gt_objects(
        self, targets: Targets, sample: Sample, vertices: bool | None, tables: Mapping[str, Any]
    ) -> list[GroundTruthObject]:
        """All objects; without detections (`vertices` None) it does not matter what points are of."""
        with_points = has_points(targets)
        boxes = targets.boxes[:, :4].double().numpy().copy()
        boxes[:, 2:] -= boxes[:, :2]
        if FRAME in targets.extras:
            corners = targets.extras[FRAME].as_subclass(Tensor).double().numpy()
            sides = np.stack((corners[:, 1, 0] - corners[:, 0, 0], corners[:, 2, 1] - corners[:, 0, 1]), 1)
            boxes = np.concatenate([corners[:, 0], sides], 1)
        areas = boxes[:, 2] * boxes[:, 3] if targets.areas is None else targets.areas.double().numpy()
        objects = []
        for row, label in enumerate(targets.labels.tolist()):
            x, y, width, height = boxes[row].tolist()
            box = (x, y, width, height)
            points = self._points(targets, row, box, vertices, tables) if bool(with_points[row]) else None
            crowd = targets.crowd is not None and bool(targets.crowd[row])
            rle = _gt_rle(targets, row, box, sample.size)
            objects.append(GroundTruthObject(label, box, float(areas[row]), crowd, points, rle))
        return objects

    def _points(
        self,
        targets: Targets,
        row: int,
        box: tuple[float, float, float, float],
        vertices: bool | None,
        tables: Mapping[str, Any],
    ) -> GroundTruthPoints | None:
        surface = targets.extras[SURFACE].as_subclass(Tensor)[row].double().numpy()
        grid = targets.extras[GRID][row].double().numpy()
        charts, meshes = surface[:, 0] >= 0, surface[:, 3] >= 0
        if vertices is None:
            real = charts | meshes
            return GroundTruthPoints(grid[real], box, np.full(int(real.sum()), -1), np.ones(int(real.sum())))
        if not vertices:
            if not charts.any():
                return None
            part, u, v = surface[charts, 0].astype(np.int64), surface[charts, 1], surface[charts, 2]
            return GroundTruthPoints(grid[charts], box, self._charts().nearest(part, u, v), _KAPPAS[part])
        names = {mesh_id(name): name for name in tables}
        mesh = names.get(int(targets.extras[MESH][row])) if meshes.any() else None
        if mesh is None:
            return None
        parts = surface[meshes, 0].astype(np.int64)
        by_part = mesh == "smpl_27554" and bool((parts >= 0).all())
        kappa = _KAPPAS[parts] if by_part else np.full(len(parts), MESH_KAPPA)
        return GroundTruthPoints(grid[meshes], box, surface[meshes, 3].astype(np.int64), kappa, mesh)

    def _detected(
        self, detections: Detections, fields: Mapping[str, Tensor], tables: Mapping[str, NDArray[np.float32]]
    ) -> list[DetectedObject]:
        arrays = {name: value.as_subclass(Tensor).detach().cpu().float().numpy() for name, value in fields.items()}
        arrays = {n: a for n, a in arrays.items() if n in ("coarse_segm", "fine_segm", "u", "v", "embedding")}
        objects = []
        labels, scores = detections.labels.tolist(), detections.scores.tolist()
        for row, corners in enumerate(detections.boxes.detach().cpu().float().numpy()):
            x, y = float(corners[0]), float(corners[1])
            box = (x, y, float(corners[2] - corners[0]), float(corners[3] - corners[1]))
            outputs = {name: each[row] for name, each in arrays.items()}
            reader: ChartReader | VertexReader | None = None
            _, _, width, height = int_box(corners)
            if not outputs:
                mask = np.zeros((height, width), bool)
            elif tables:
                mask = foreground(outputs["coarse_segm"], (height, width))
                reader = VertexReader(_lookup(outputs["embedding"], mask, tables))
            else:
                quantized = chart_result(outputs, corners).quantized
                mask, reader = quantized[0] > 0, ChartReader(quantized, self._charts())
            rle = pasted_rle(mask, box, detections.size)
            objects.append(DetectedObject(labels[row], box, scores[row], reader, mask, rle, not tables))
        return objects


def _lookup(embedding: NDArray[np.float32], mask: NDArray[np.bool_], tables: Mapping[str, NDArray[np.float32]]) -> Any:
    """The vertex at some pixels of the box that `mask` covers."""

    def lookup(ys: NDArray[np.int64], xs: NDArray[np.int64], mesh: str) -> NDArray[np.int64]:
        size = (mask.shape[0], mask.shape[1])
        vertices = nearest_vertices(channels_at(embedding, size, ys, xs), tables[mesh])
        return np.where(mask[ys, xs], vertices, -1)

    return lookup


def _vertex_tables(fields: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    embedding = fields.get("embedding")
    if embedding is None:
        return {}
    if not hasattr(embedding, "vertices"):
        raise StructureError("densepose", "the embeddings of pixels have lost those of the vertices")
    return {name: table.detach().cpu().float().numpy() for name, table in embedding.vertices.items()}


def _gt_rle(targets: Targets, row: int, box: tuple[float, float, float, float], size: tuple[int, int]) -> Any:
    """The mask of an object: its coarse parts where there are any, else its segmentation, else None."""
    if COARSE in targets.extras:
        coarse = targets.extras[COARSE].as_subclass(Tensor)[row].numpy()
        if coarse[0, 0] != UNKNOWN:
            return gt_mask_rle(coarse > 0, box, size)
    if targets.masks is None:
        return None
    if isinstance(targets.masks, Polygons):
        [rings] = list(targets.masks[row : row + 1])
        flat = [ring.ravel().tolist() for ring in rings]
        return coco_mask.merge(coco_mask.frPyObjects(flat, *size)) if flat else None
    return encode(targets.masks[row].numpy())


def _read_key_vertices(path: Path) -> dict[str, dict[str, int]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(str(path), "cannot be read as JSON", str(error)) from error
    good = isinstance(content, dict) and all(
        isinstance(places, dict) and all(type(vertex) is int for vertex in places.values())
        for places in content.values()
    )
    if not good:
        raise DataError(str(path), "must hold {mesh: {name of a place: vertex}}")
    return content
