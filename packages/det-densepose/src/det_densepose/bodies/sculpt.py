"""Makes the synthetic figure that this package ships: `python -m det_densepose.bodies.sculpt [FILE]`.

The figure is the zero set of a smooth union of rounded cones, one for each bone, meshed by dual contouring on a grid
that is symmetric in x (naive surface nets, Gibson 1998). It is therefore symmetric vertex by vertex. Charts follow the
part numbers of DensePose (Gueler et al., 2018); no vertex, chart or table of a published body is used.

Coordinates: meters, x to the figure's left, y up, z to the front; the soles stand at y = 0.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from det_densepose.bodies.laplacian import laplacian_features

__all__ = ["BONES", "CELL", "sculpt"]

Array = NDArray[np.float64]
CELL = 0.038
"""Edge of a grid cell in meters; about 1 800 vertices."""
_BLEND = 0.03


class Bone(NamedTuple):
    """A rounded cone from `start` to `end`, and the joint that moves it."""

    name: str
    parent: str
    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radii: tuple[float, float]
    flat: float = 1.0
    """Depth (z) of the cross section in parts of its width."""


def _pair(
    name: str, parent: str, start: tuple[float, ...], end: tuple[float, ...], radii: tuple[float, float]
) -> list[Bone]:
    """A bone of the left side and its mirror image."""
    bones = []
    for side, sign in (("left", 1.0), ("right", -1.0)):
        above = parent if parent == "torso" else f"{side} {parent}"
        points = [(sign * x, y, z) for x, y, z in (start, end)]
        bones.append(Bone(f"{side} {name}", above, points[0], points[1], radii))
    return bones


BONES = (
    Bone("torso", "", (0, 0.97, 0), (0, 1.33, 0), (0.155, 0.165), 0.72),
    Bone("head", "torso", (0, 1.55, 0.005), (0, 1.68, 0.02), (0.085, 0.105)),
    *_pair("upper arm", "torso", (0.19, 1.385, 0), (0.375, 1.175, 0), (0.070, 0.056)),
    *_pair("lower arm", "upper arm", (0.375, 1.175, 0), (0.535, 0.985, 0.01), (0.056, 0.044)),
    *_pair("hand", "lower arm", (0.560, 0.955, 0.012), (0.615, 0.885, 0.02), (0.046, 0.042)),
    *_pair("upper leg", "torso", (0.098, 0.90, 0), (0.122, 0.50, 0), (0.096, 0.070)),
    *_pair("lower leg", "upper leg", (0.122, 0.50, 0), (0.132, 0.13, -0.01), (0.070, 0.050)),
    *_pair("foot", "lower leg", (0.132, 0.055, -0.015), (0.142, 0.05, 0.13), (0.052, 0.048)),
)
_NECK = Bone("neck", "torso", (0, 1.40, 0), (0, 1.56, 0), (0.07, 0.055))

# (part of the front surface, part of the back surface); one number: a part all round.
_PARTS = {
    "torso": (2, 1),
    "right hand": (3, 3),
    "left hand": (4, 4),
    "left foot": (5, 5),
    "right foot": (6, 6),
    "right upper leg": (9, 7),
    "left upper leg": (10, 8),
    "right lower leg": (13, 11),
    "left lower leg": (14, 12),
    "left upper arm": (17, 15),
    "right upper arm": (18, 16),
    "left lower arm": (21, 19),
    "right lower arm": (22, 20),
}

# The part at the mirrored place; index 0 is the background.
_OPPOSITE = (0, 1, 2, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21, 24, 23)


def _cone(points: Array, bone: Bone) -> tuple[Array, Array]:
    """Distance (N,) of points (N, 3) to a bone's surface, about, and how far along the bone each is, 0 to 1."""
    scale = np.array([1, 1, 1 / bone.flat])
    start, axis = np.array(bone.start) * scale, (np.array(bone.end) - bone.start) * scale
    along = np.clip((points * scale - start) @ axis / (axis @ axis), 0, 1)
    radius = bone.radii[0] + (bone.radii[1] - bone.radii[0]) * along
    return np.linalg.norm(points * scale - start - along[:, None] * axis, axis=1) - radius, along


def _field(points: Array) -> Array:
    """The smooth union of all bones, (N,); negative inside."""
    distances = np.stack([_cone(points, bone)[0] for bone in (*BONES, _NECK)])
    lowest = distances.min(0)
    return lowest - _BLEND * 0.5 * np.log(np.exp(-(distances - lowest) / (_BLEND * 0.5)).sum(0))


def _surface() -> tuple[Array, NDArray[np.int64]]:
    """Vertices (V, 3) and quadrangles (Q, 4) of the zero set, symmetric in x."""
    half = np.array([19, 26, 8])
    # An even number of planes in x: the middle cells, and so their vertices, lie on the plane of symmetry.
    counts = (2 * half[0] + 2, 2 * half[1] + 1, 2 * half[2] + 1)
    offset = np.array([(half[0] + 0.5) * CELL, 0.06, half[2] * CELL - 0.05])
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in counts), indexing="ij"), -1)
    corners = grid * CELL - offset
    values = _field(corners.reshape(-1, 3)).reshape(counts)
    inside = values < 0
    cells = np.zeros([n - 1 for n in counts], int)
    for shift in np.ndindex(2, 2, 2):
        cells += inside[tuple(slice(s, n - 1 + s) for s, n in zip(shift, counts, strict=True))]
    used = (cells > 0) & (cells < 8)
    number = np.full(cells.shape, -1)
    number[used] = np.arange(used.sum())
    vertices = (np.argwhere(used) + 0.5) * CELL - offset
    quads = []
    for axis in range(3):
        low = [slice(0, n - 1) if a == axis else slice(1, n - 1) for a, n in enumerate(counts)]
        high = [slice(1, n) if a == axis else slice(1, n - 1) for a, n in enumerate(counts)]
        crossing = inside[tuple(low)] != inside[tuple(high)]
        places = np.argwhere(crossing) + [0 if a == axis else 1 for a in range(3)]
        b, c = (axis + 1) % 3, (axis + 2) % 3
        ring = []
        for db, dc in ((-1, -1), (0, -1), (0, 0), (-1, 0)):
            cell = places.copy()
            cell[:, b] += db
            cell[:, c] += dc
            ring.append(number[tuple(cell.T)])
        quad = np.stack(ring, 1)
        outward = inside[tuple(low)][crossing]
        quads.append(np.where(outward[:, None], quad, quad[:, ::-1]))
    return vertices, np.concatenate(quads)


def _smoothed(vertices: Array, quads: NDArray[np.int64]) -> Array:
    """Vertices drawn towards the mean of their neighbors and put back onto the surface, a few times."""
    edges = np.unique(np.sort(np.concatenate([quads[:, [i, (i + 1) % 4]] for i in range(4)]), 1), axis=0)
    for _ in range(12):
        total, count = np.zeros_like(vertices), np.zeros(len(vertices))
        for a, b in ((0, 1), (1, 0)):
            np.add.at(total, edges[:, a], vertices[edges[:, b]])
            np.add.at(count, edges[:, a], 1)
        vertices = 0.5 * vertices + 0.5 * total / count[:, None]
        for _ in range(3):
            value, step = _field(vertices), 1e-4
            gradient = np.stack(
                [(_field(vertices + step * e) - _field(vertices - step * e)) / (2 * step) for e in np.eye(3)], 1
            )
            vertices = vertices - (value / np.maximum((gradient**2).sum(1), 0.1))[:, None] * gradient
    return vertices


def _mirror_vertices(vertices: Array) -> NDArray[np.int64]:
    """The vertex at the mirrored place of each; exact, since the grid is symmetric."""
    keys = np.round(vertices / 1e-7).astype(np.int64)
    order = {tuple(key): row for row, key in enumerate(keys.tolist())}
    mirror = np.array([order.get((-x, y, z), -1) for x, y, z in keys.tolist()])
    if (mirror < 0).any():
        distance = np.linalg.norm(vertices[mirror < 0][:, None] * [-1, 1, 1] - vertices[None], axis=2)
        mirror[mirror < 0] = distance.argmin(1)
    return mirror


def _nearest_bone(points: Array) -> NDArray[np.int64]:
    """The bone whose surface is the nearest; the neck counts as torso below the chin."""
    distance = np.stack([_cone(points, bone)[0] for bone in BONES], 1)
    neck = _cone(points, _NECK)[0]
    head = next(i for i, bone in enumerate(BONES) if bone.name == "head")
    distance[:, head] = np.minimum(distance[:, head], np.where(points[:, 1] > 1.47, neck, np.inf))
    distance[:, 0] = np.minimum(distance[:, 0], np.where(points[:, 1] <= 1.47, neck, np.inf))
    # A bone ends where the next begins: by the plane between them, not by which cone is thicker there.
    index = {bone.name: i for i, bone in enumerate(BONES)}
    for side in ("left", "right"):
        for upper, lower in (("upper arm", "lower arm"), ("lower arm", "hand"), ("upper leg", "lower leg")):
            a, b = index[f"{side} {upper}"], index[f"{side} {lower}"]
            joint = np.array(BONES[b].start)
            axis = np.array(BONES[b].end) - BONES[a].start
            beyond = (points - joint) @ axis > 0
            distance[beyond, a] += 1
            distance[~beyond, b] += 1
    ankle = points[:, 1] < 0.115
    for side in ("left", "right"):
        distance[ankle, index[f"{side} lower leg"]] += 1
        distance[~ankle, index[f"{side} foot"]] += 1
    return distance.argmin(1)


def _parts(vertices: Array, faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """The part of each face, 1 to 24."""
    centers = vertices[faces].mean(1)
    bone = _nearest_bone(centers)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    front = np.cross(b - a, c - a)[:, 2] > 0
    parts = np.zeros(len(faces), int)
    for number, each in enumerate(BONES):
        of_bone = bone == number
        if each.name == "head":
            parts[of_bone] = np.where(centers[of_bone, 0] < 0, 23, 24)
        else:
            parts[of_bone] = np.where(front[of_bone], *_PARTS[each.name])
    return parts


def _chart(part: int, points: Array) -> Array:
    """u and v (N, 2) before they are stretched to [0, 1], of points (N, 3) of a part."""
    name = next((name for name, parts in _PARTS.items() if part in parts), "head")
    if part in (23, 24):  # a half of the head, viewed from its side
        center, axis, up = (
            np.array([0, 1.63, 0.015]),
            np.array([-1.0 if part == 23 else 1.0, 0, 0]),
            np.array([0, 1.0, 0]),
        )
        return _azimuthal(points - center, axis, up)
    bone = next(bone for bone in BONES if bone.name == name)
    axis = np.array(bone.end) - bone.start
    axis /= np.linalg.norm(axis)
    if "hand" in name or "foot" in name:  # all round, viewed from the tip; the cut is where it joins the limb
        share = 0.6 if "hand" in name else 0.05  # a foot is viewed from below the ankle
        center = (1 - share) * np.array(bone.start) + share * np.array(bone.end)
        axis = axis if "hand" in name else np.array([0, -1.0, 0])
        return _azimuthal(points - center, axis, np.array([0, 0, 1.0]))
    # A half of a tube: the angle about the bone, and how far along it. x grows with u on both sides of the body.
    along = (points - bone.start) @ axis
    out = points - bone.start - along[:, None] * axis
    side = np.array([1.0, 0, 0]) - axis[0] * axis
    side /= np.linalg.norm(side)
    depth = out[:, 2] / bone.flat * (1 if part == _PARTS[name][0] else -1)
    return np.stack((np.arctan2(out @ side, depth), -along if axis[1] < 0 else along), 1)


def _azimuthal(offsets: Array, axis: Array, up: Array) -> Array:
    """The azimuthal equidistant map of directions (N, 3) about `axis`: the angle from it, in the direction of view."""
    up = up - (up @ axis) * axis
    up = up / np.linalg.norm(up)
    right = np.cross(up, axis)
    right = right * (1 if abs(right[0]) < 1e-6 or right[0] > 0 else -1)
    if abs(axis[0]) > 0.99:
        right = np.array([0, 0, 1.0])
    offsets = offsets / np.linalg.norm(offsets, axis=1, keepdims=True)
    angle = np.arccos(np.clip(offsets @ axis, -1, 1))
    x, y = offsets @ right, offsets @ up
    length = np.maximum(np.hypot(x, y), 1e-12)
    return np.stack((angle * x / length, angle * y / length), 1)


def _weights(vertices: Array) -> Array:
    """How much each bone moves each vertex, (V, B), rows of sum 1."""
    distance = np.stack([_cone(vertices, bone)[0] for bone in BONES], 1)
    distance[:, 1] = np.minimum(distance[:, 1], _cone(vertices, _NECK)[0] + np.maximum(0, 1.5 - vertices[:, 1]))
    weights = np.exp(-np.maximum(distance - distance.min(1, keepdims=True), 0) / 0.012)
    weights[weights < 0.02] = 0
    # The left side is moved by no bone of the right side, and the other way round.
    for number, bone in enumerate(BONES):
        if bone.name.startswith("left"):
            weights[vertices[:, 0] < -0.0, number] = 0
        if bone.name.startswith("right"):
            weights[vertices[:, 0] > 0.0, number] = 0
    return weights / weights.sum(1, keepdims=True)


def sculpt() -> dict[str, NDArray[np.generic]]:
    """The figure as arrays.

    Returns:
        `vertices` float32 (V, 3); `faces` int32 (F, 3), counter-clockwise from outside; `symmetry` int32 (V,), the
        vertex at the mirrored place; `parts` uint8 (F,), the chart of each face; `chart_vertex` int32 (S,),
        `chart_part` uint8 (S,), `chart_uv` float32 (S, 2): vertices with their place in each chart that they belong
        to; `chart_faces` int32 (F, 3) into these; `features` float16 (V, 64), eigenfunctions of the Laplacian;
        `weights` float32 (V, B) and `joints` float32 (B, 3).
    """
    vertices, quads = _surface()
    vertices = _smoothed(vertices, quads)
    mirror = _mirror_vertices(vertices)
    vertices = (vertices + vertices[mirror] * [-1, 1, 1]) / 2  # rounding aside it was symmetric before
    # No quadrangle crosses the plane of symmetry; those of the right side are cut as their mirror images are.
    left = np.concatenate(_halves(vertices, quads[vertices[quads].mean(1)[:, 0] > 0]))
    faces = np.concatenate([left, mirror[left[:, ::-1]]])
    parts = _parts(vertices, faces)
    vertex, part, uv, chart_faces = _charts(vertices, faces, parts, mirror)
    return {
        "vertices": vertices.astype(np.float32),
        "faces": faces.astype(np.int32),
        "symmetry": mirror.astype(np.int32),
        "parts": parts.astype(np.uint8),
        "chart_vertex": vertex.astype(np.int32),
        "chart_part": part.astype(np.uint8),
        "chart_uv": uv.astype(np.float32),
        "chart_faces": chart_faces.astype(np.int32),
        "features": laplacian_features(vertices, faces, 64).astype(np.float16),
        "weights": _weights(vertices).astype(np.float32),
        "joints": np.array([bone.start for bone in BONES], np.float32),
    }


def _halves(vertices: Array, quads: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    a, b, c, d = (vertices[quads[:, i]] for i in range(4))
    first = np.linalg.norm(a - c, axis=1) <= np.linalg.norm(b - d, axis=1) + 1e-9
    one = np.where(first[:, None], quads[:, [0, 1, 2]], quads[:, [0, 1, 3]])
    two = np.where(first[:, None], quads[:, [0, 2, 3]], quads[:, [1, 2, 3]])
    return [one, two]


def _charts(
    vertices: Array, faces: NDArray[np.int64], parts: NDArray[np.int64], mirror: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, NDArray[np.int64]]:
    """Chart vertices: which vertex, which part, u and v; and the faces in these."""
    pairs, inverse = np.unique(np.stack((parts.repeat(3), faces.ravel()), 1), axis=0, return_inverse=True)
    uv = np.zeros((len(pairs), 2))
    row = {(int(part), int(vertex)): number for number, (part, vertex) in enumerate(pairs.tolist())}
    mirrored = np.array([row[_OPPOSITE[part], int(mirror[vertex])] for part, vertex in pairs.tolist()])
    for part in (part for part in range(1, 25) if part <= _OPPOSITE[part]):
        rows = np.flatnonzero(pairs[:, 0] == part)
        flat = _chart(part, vertices[pairs[rows, 1]])
        if part == _OPPOSITE[part]:  # the mirror image of the torso is the torso
            place = np.empty(len(pairs), int)
            place[rows] = np.arange(len(rows))
            flat[:, 0] = (flat[:, 0] - flat[place[mirrored[rows]], 0]) / 2
        low, high = flat.min(0), flat.max(0)
        uv[rows] = (flat - low) / (high - low)
        uv[mirrored[rows]] = uv[rows] * [-1, 1] + [1, 0]
    return pairs[:, 1], pairs[:, 0], uv, inverse.reshape(-1, 3)


def main() -> int:
    """Write the figure to the file named by the first argument, or to the one in the package."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("figure.npz")
    arrays = sculpt()
    np.savez_compressed(target, **arrays)  # type: ignore[arg-type]
    print(f"{target}: {len(arrays['vertices'])} vertices, {len(arrays['faces'])} faces")  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
