"""Rasterizes a surface from the front, in orthographic projection."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from det_densepose.bodies.body import Body

__all__ = ["Layers", "rasterize"]


@dataclass(frozen=True, eq=False)
class Layers:
    """What each pixel shows of a surface.

    Attributes:
        mask: bool (H, W): whether it shows it at all; elsewhere the others hold 0.
        part: uint8 (H, W), the chart.
        u: float32 (H, W), in [0, 1].
        v: float32 (H, W), in [0, 1].
        vertex: int32 (H, W): the nearest corner of the triangle.
        depth: float32 (H, W): towards the viewer, in meters.
        light: float32 (H, W): how far the surface faces the light, in [0, 1].
    """

    mask: NDArray[np.bool_]
    part: NDArray[np.uint8]
    u: NDArray[np.float32]
    v: NDArray[np.float32]
    vertex: NDArray[np.int32]
    depth: NDArray[np.float32]
    light: NDArray[np.float32]


def rasterize(
    body: Body,
    vertices: NDArray[np.floating],
    size: tuple[int, int],
    scale: float,
    center: tuple[float, float],
    light: tuple[float, float, float] = (0.4, 0.6, 0.7),
) -> Layers:
    """A body with its vertices (V, 3) moved, x to the right and y up, z to the viewer.

    Args:
        body: body with faces and charts.
        vertices: positions of the body's vertices, in meters.
        size: (height, width) of the picture in pixels.
        scale: number of pixels per meter.
        center: x and y of the pixel position of the origin, continuous.
        light: direction towards the light.

    A pixel shows the nearest triangle that covers its middle. Back faces are not drawn.
    """
    faces, charts = body.faces, body.charts
    if faces is None or charts is None or charts.faces is None:
        raise ValueError("the body has no faces or no charts")  # never from a user's input: the figure has both
    points = np.stack((center[0] + scale * vertices[:, 0], center[1] - scale * vertices[:, 1]), 1)
    normals = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    mask, face, weights, depth = _nearest(points[faces], vertices[faces][..., 2], normals[:, 2] > 1e-12, size)
    rows = charts.faces[face]
    uv = (charts.uv[rows] * weights[..., None]).sum(1).clip(0, 1)
    smooth = _vertex_normals(faces, normals, len(vertices))
    direction = np.asarray(light) / np.linalg.norm(light)
    lit = ((smooth[faces[face]] * weights[..., None]).sum(1) @ direction).clip(0, 1)
    nearest = faces[face, weights.argmax(1)]

    def image(values: NDArray[Any], kind: type) -> Any:
        canvas: NDArray[Any] = np.zeros(size, kind)
        canvas[mask] = values
        return canvas

    return Layers(
        mask=mask,
        part=image(charts.part[rows[:, 0]], np.uint8),
        u=image(uv[:, 0], np.float32),
        v=image(uv[:, 1], np.float32),
        vertex=image(nearest, np.int32),
        depth=image(depth, np.float32),
        light=image(lit, np.float32),
    )


def _nearest(
    corners: NDArray[np.floating], heights: NDArray[np.floating], visible: NDArray[np.bool_], size: tuple[int, int]
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Which pixels are covered, bool (H, W), and the triangle, the corner weights and the depth of each of these."""
    face, ys, xs = _candidates(corners, np.flatnonzero(visible), size)
    weights = _barycentric(corners[face], xs + 0.5, ys + 0.5)
    inside = (weights >= -1e-9).all(1)
    face, ys, xs, weights = face[inside], ys[inside], xs[inside], weights[inside]
    depth = (heights[face] * weights).sum(1)
    # The last one written stays: the nearest of each pixel comes last.
    order = np.argsort(depth, kind="stable")
    winner = np.full(size, -1)
    winner[ys[order], xs[order]] = order
    mask = winner >= 0
    best = winner[mask]
    return mask, face[best], weights[best], depth[best]


def _vertex_normals(faces: NDArray[np.int64], normals: NDArray[np.floating], count: int) -> NDArray[np.float64]:
    """The mean direction of the triangles around each vertex, (V, 3)."""
    unit = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    total = np.zeros((count, 3))
    for corner in range(3):
        np.add.at(total, faces[:, corner], unit)
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))


def _candidates(
    corners: NDArray[np.floating], faces: NDArray[np.int64], size: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All pixels in the boxes around the triangles `faces`: triangle, row and column of each."""
    height, width = size
    low = np.ceil(corners[faces].min(1) - 0.5).astype(np.int64).clip(0)
    high = np.floor(corners[faces].max(1) - 0.5).astype(np.int64)
    high = np.minimum(high, [width - 1, height - 1])
    across, down = (np.maximum(high - low + 1, 0)).T
    count = across * down
    face = faces.repeat(count)
    place = np.arange(count.sum()) - (count.cumsum() - count).repeat(count)
    wide = across.repeat(count)
    return face, low[:, 1].repeat(count) + place // wide.clip(1), low[:, 0].repeat(count) + place % wide.clip(1)


def _barycentric(
    corners: NDArray[np.floating], x: NDArray[np.floating], y: NDArray[np.floating]
) -> NDArray[np.float64]:
    """The weights (P, 3) of three corners (P, 3, 2) at points (P,)."""
    (ax, ay), (bx, by), (cx, cy) = (corners[:, i].T for i in range(3))
    double = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    double = np.where(np.abs(double) < 1e-12, 1e-12, double)
    second = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / double
    third = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / double
    return np.stack((1 - second - third, second, third), 1)
