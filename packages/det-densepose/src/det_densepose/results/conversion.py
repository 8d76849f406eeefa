"""Raw outputs over a box become labels, u and v, confidences, or vertices at every pixel of the box.

NumPy alone: exported models, whose outputs are plain arrays, use these functions too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ChartResult",
    "IntBox",
    "VertexResult",
    "channels_at",
    "chart_result",
    "foreground",
    "int_box",
    "nearest_vertices",
    "resize",
    "vertex_result",
]

IntBox = tuple[int, int, int, int]
"""x, y, width and height of a box in whole pixels."""

Floats = NDArray[np.float32]
_CHUNK = 1 << 22
"""Numbers of a resized map that are held at once."""

_CONFIDENCES = ("sigma_2", "kappa_u", "kappa_v", "fine_segm_confidence", "coarse_segm_confidence")


@dataclass(frozen=True, eq=False)
class ChartResult:
    """One person on the charts.

    Attributes:
        box: (x, y, width, height) of the box in pixels of the image.
        labels: uint8 (h, w): part of each pixel of the box, 0 background.
        uv: float32 (2, h, w): as predicted, possibly outside [0, 1]; 0 in the background.
        confidences: name -> float32 (h, w), where the model has them.
    """

    box: IntBox
    labels: NDArray[np.uint8]
    uv: Floats
    confidences: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which pixels of the box show the person, bool (h, w)."""
        return self.labels > 0

    @property
    def quantized(self) -> NDArray[np.uint8]:
        """Part, 255 u and 255 v, cut off, uint8 (3, h, w)."""
        uv = np.clip(self.uv * np.float32(255), 0, 255).astype(np.uint8)
        return np.concatenate([self.labels[None], uv])


@dataclass(frozen=True, eq=False)
class VertexResult:
    """One person or animal on the vertices of a mesh.

    Attributes:
        box: (x, y, width, height) of the box in pixels of the image.
        mask: bool (h, w): which pixels of the box show it.
        vertices: int32 (h, w): the nearest vertex, 0 outside of the mask.
        mesh: name of the mesh of the vertices.
        confidences: name -> float32 (h, w), where the model has them.
    """

    box: IntBox
    mask: NDArray[np.bool_]
    vertices: NDArray[np.int32]
    mesh: str
    confidences: Mapping[str, Floats] = field(default_factory=dict)


def int_box(box: Any) -> IntBox:
    """A box (4,), xyxy, in whole pixels: position and size are each cut off towards zero, sides are at least 1."""
    x0, y0, x1, y1 = (np.float32(value) for value in np.asarray(box, np.float32).tolist())
    return int(x0), int(y0), max(int(x1 - x0), 1), max(int(y1 - y0), 1)


def _weights(length: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """The two neighbors of each of `target` places among `length`, and the weight of the second."""
    scale = np.float32(length / target)
    place = np.maximum((np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
    low = np.minimum(place.astype(np.int64), length - 1)
    return low, np.minimum(low + 1, length - 1), (place - low).astype(np.float32)


def resize(values: Floats, size: tuple[int, int]) -> Floats:
    """Resize bilinearly with `align_corners=False`, (C, Z, Z) to (C, h, w)."""
    top, bottom, down = _weights(values.shape[1], size[0])
    left, right, across = _weights(values.shape[2], size[1])
    rows = values[:, :, left] * (1 - across) + values[:, :, right] * across
    return np.asarray(rows[:, top] * (1 - down[:, None]) + rows[:, bottom] * down[:, None], np.float32)


def _argmax(values: Floats, size: tuple[int, int]) -> NDArray[np.int64]:
    """The best channel of each pixel after resizing, (h, w), a few rows at a time."""
    top, bottom, down = _weights(values.shape[1], size[0])
    left, right, across = _weights(values.shape[2], size[1])
    rows = values[:, :, left] * (1 - across) + values[:, :, right] * across
    step = max(1, _CHUNK // max(1, values.shape[0] * size[1]))
    labels = np.empty(size, np.int64)
    for start in range(0, size[0], step):
        part = slice(start, start + step)
        weight = down[part, None]
        labels[part] = (rows[:, top[part]] * (1 - weight) + rows[:, bottom[part]] * weight).argmax(0)
    return labels


def foreground(coarse: Floats, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the best coarse part is not the background, bool (h, w), after resizing (C, Z, Z)."""
    return _argmax(coarse, size) > 0


def _at_labels(values: Floats, labels: NDArray[np.int64]) -> Floats:
    """The resized channel of each pixel's label, (h, w); 0 where that is 0."""
    size = (labels.shape[0], labels.shape[1])
    top, bottom, down = _weights(values.shape[1], size[0])
    left, right, across = _weights(values.shape[2], size[1])
    y0, y1, x0, x1 = top[:, None], bottom[:, None], left[None], right[None]
    upper = values[labels, y0, x0] * (1 - across) + values[labels, y0, x1] * across
    lower = values[labels, y1, x0] * (1 - across) + values[labels, y1, x1] * across
    resized = upper * (1 - down[:, None]) + lower * down[:, None]
    return np.where(labels > 0, resized, 0).astype(np.float32)


def chart_result(fields: Mapping[str, Any], box: Any) -> ChartResult:
    """Labels, u, v and confidences of one region.

    Args:
        fields: float32 (C, Z, Z) each: `coarse_segm`, `fine_segm`, `u`, `v`, and perhaps confidences, as a model gives
            them.
        box: box of the person, xyxy in pixels, (4,).

    A label is the best fine part where the best coarse part is not the background; both after resizing.
    """
    arrays = {name: np.asarray(value, np.float32) for name, value in fields.items()}
    x, y, width, height = int_box(box)
    size = (height, width)
    labels = _argmax(arrays["fine_segm"], size) * (_argmax(arrays["coarse_segm"], size) > 0)
    uv = np.stack([_at_labels(arrays[name], labels) for name in ("u", "v")])
    return ChartResult((x, y, width, height), labels.astype(np.uint8), uv, _confidences(arrays, labels))


def _confidences(arrays: Mapping[str, Floats], labels: NDArray[np.int64]) -> dict[str, Floats]:
    """Those of one channel everywhere, those of one channel a part at the pixel's part."""
    size = (labels.shape[0], labels.shape[1])
    return {
        name: resize(arrays[name], size)[0] if len(arrays[name]) == 1 else _at_labels(arrays[name], labels)
        for name in _CONFIDENCES
        if name in arrays
    }


def nearest_vertices(embeddings: Floats, vertices: Floats) -> NDArray[np.int64]:
    """The vertex nearest to each of P embeddings (P, D) among (V, D), by Euclidean distance, int64 (P,)."""
    squared = (vertices**2).sum(1)
    indices = np.zeros(len(embeddings), np.int64)
    step = max(1, _CHUNK * 2 // max(1, len(vertices)))
    for start in range(0, len(embeddings), step):
        part = embeddings[start : start + step]
        indices[start : start + step] = (squared - 2 * part @ vertices.T).argmin(1)
    return indices


def vertex_result(fields: Mapping[str, Any], box: Any, vertices: Any, mesh: str = "") -> VertexResult:
    """The nearest vertex at each pixel of one region.

    Args:
        fields: float32 (C, Z, Z) each: `embedding`, `coarse_segm`.
        box: box of the object, xyxy in pixels, (4,).
        vertices: float32 (V, D), the embeddings of the mesh's vertices.
        mesh: name of the mesh of the vertices.
    """
    arrays = {name: np.asarray(value, np.float32) for name, value in fields.items()}
    x, y, width, height = int_box(box)
    size = (height, width)
    mask = _argmax(arrays["coarse_segm"], size) > 0
    indices = np.zeros(size, np.int32)
    ys, xs = np.nonzero(mask)
    indices[mask] = nearest_vertices(channels_at(arrays["embedding"], size, ys, xs), np.asarray(vertices, np.float32))
    return VertexResult((x, y, width, height), mask, indices, mesh, _confidences(arrays, mask.astype(np.int64)))


def channels_at(values: Floats, size: tuple[int, int], ys: NDArray[np.int64], xs: NDArray[np.int64]) -> Floats:
    """All channels at some pixels of the resized map, (P, C)."""
    top, bottom, down = _weights(values.shape[1], size[0])
    left, right, across = _weights(values.shape[2], size[1])
    y0, y1, x0, x1, wy, wx = top[ys], bottom[ys], left[xs], right[xs], down[ys], across[xs]
    upper = values[:, y0, x0] * (1 - wx) + values[:, y0, x1] * wx
    lower = values[:, y1, x0] * (1 - wx) + values[:, y1, x1] * wx
    return np.ascontiguousarray((upper * (1 - wy) + lower * wy).T)
