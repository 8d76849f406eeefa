"""Drawings of results: each takes a picture and gives it back with something drawn over every person."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from det_core.errors import ConfigError
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from det_densepose.bodies.body import Body
from det_densepose.render.textures import sample_atlas
from det_densepose.results.conversion import ChartResult, VertexResult
from det_densepose.visual.colors import JET, PARULA, apply

__all__ = [
    "BoxDrawing",
    "ContourDrawing",
    "Drawing",
    "PartDrawing",
    "Person",
    "TextureDrawing",
    "UVDrawing",
    "VertexDrawing",
    "VertexTextureDrawing",
    "draw",
    "gray",
]

Picture = NDArray[np.float64]
Person = ChartResult | VertexResult
_PARTS = 24


class Drawing(Protocol):
    """Draws one person; the picture is float64 RGB (H, W, 3), 0 to 255, and may be changed."""

    def __call__(self, picture: Picture, person: Person, score: float) -> Picture:
        """The picture with the person drawn."""
        ...


def gray(image: NDArray[np.uint8]) -> Picture:
    """A picture (H, W, 3) without colors, so that those of drawings stand out."""
    light = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return np.repeat(light[..., None], 3, 2)


def draw(
    image: NDArray[np.uint8],
    persons: Sequence[Person],
    drawings: Sequence[Drawing],
    scores: Sequence[float] = (),
    colored: bool = False,
) -> NDArray[np.uint8]:
    """A picture, uint8 RGB (H, W, 3), with all drawings of all persons, the best, which come first, on top.

    Args:
        image: uint8 RGB (H, W, 3).
        persons: results in the pixels of the image.
        drawings: drawings to apply, one after another.
        scores: scores of the persons, for labels of boxes; by default 1.
        colored: whether to keep the colors of the image instead of converting it to gray.
    """
    picture = image.astype(np.float64) if colored else gray(image)
    person_scores = list(scores) or [1.0] * len(persons)
    for drawing in drawings:
        for person, score in reversed(list(zip(persons, person_scores, strict=True))):
            picture = drawing(picture, person, score)
    return picture.round().clip(0, 255).astype(np.uint8)


def _blend(
    picture: Picture, person: Person, colors: NDArray[np.floating], visible: NDArray[np.bool_], alpha: float
) -> Picture:
    """The picture with colors (h, w, 3) of a person's box where `visible`, (h, w)."""
    x, y, width, height = person.box
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + width, picture.shape[1]), min(y + height, picture.shape[0])
    if x1 <= x0 or y1 <= y0:
        return picture
    window = slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)
    target = picture[y0:y1, x0:x1]
    mask = visible[window][..., None]
    picture[y0:y1, x0:x1] = np.where(mask, (1 - alpha) * target + alpha * colors[window], target)
    return picture


def _charts(person: Person, name: str) -> ChartResult:
    if not isinstance(person, ChartResult):
        fix = "draw 'vertex' or 'cse_texture'"
        raise ConfigError(name, "draws charts, and this model predicts vertices", fix=fix)
    return person


def _vertices(person: Person, name: str) -> VertexResult:
    if not isinstance(person, VertexResult):
        fix = "draw 'segm', 'u', 'v', 'contour' or 'texture'"
        raise ConfigError(name, "draws vertices, and this model predicts charts", fix=fix)
    return person


@dataclass(frozen=True)
class PartDrawing:
    """Parts in colors from 1 to 24; of vertices, the mask in one color."""

    alpha: float = 0.7

    def __call__(self, picture: Picture, person: Person, score: float) -> Picture:
        """The picture with the person's parts."""
        values = person.labels / _PARTS if isinstance(person, ChartResult) else person.mask * 0.5
        return _blend(picture, person, apply(values, PARULA), person.mask, self.alpha)


@dataclass(frozen=True)
class UVDrawing:
    """One coordinate of the charts, "u" or "v", from 0 to 1."""

    coordinate: str = "u"
    alpha: float = 0.7

    def __call__(self, picture: Picture, person: Person, score: float) -> Picture:
        """The picture with the person's coordinate."""
        chart = _charts(person, self.coordinate)
        values = chart.uv[0 if self.coordinate == "u" else 1]
        return _blend(picture, person, apply(values, PARULA), chart.mask, self.alpha)


@dataclass(frozen=True)
class ContourDrawing:
    """Lines of equal u and of equal v within each part, colored by their value; lines of both run between pixels."""

    levels: int = 10
    alpha: float = 1.0

    def __call__(self, picture: Picture, person: Person, score: float) -> Picture:
        """The picture with the person's lines."""
        chart = _charts(person, "contour")
        for values in chart.uv:
            step = np.floor(np.clip(values, 0, 1 - 1e-6) * self.levels)
            line = np.zeros(chart.labels.shape, bool)
            for axis in (0, 1):
                first = [slice(None)] * 2
                second = [slice(None)] * 2
                first[axis], second[axis] = slice(0, -1), slice(1, None)
                a, b = tuple(first), tuple(second)
                same = (chart.labels[a] == chart.labels[b]) & chart.mask[a]
                line[a] |= same & (step[a] != step[b])
            picture = _blend(picture, person, apply(values, JET), line & chart.mask, self.alpha)
        return picture


@dataclass(frozen=True, eq=False)
class TextureDrawing:
    """A texture put onto people.

    Args:
        atlas: uint8 (24, T, T, 3), or (24, T, T, 4) with alpha; transparent texels, or black ones without alpha, are
            skipped.
        alpha: opacity, in [0, 1].
    """

    atlas: NDArray[np.uint8]
    alpha: float = 1.0

    def __call__(self, picture: Picture, person: Person, score: float) -> Picture:
        """The picture with the person in the texture."""
        chart = _charts(person, "texture")
        colors = sample_atlas(self.atlas, chart.labels, chart.uv[0], chart.uv[1])
        opaque = colors[..., 3] > 0 if colors.shape[-1] == 4 else colors.any(-1)
        return _blend(picture, person, colors[..., :3].astype(np.float64), chart.mask & opaque, self.alpha)


@dataclass(frozen=True, eq=False)
class VertexDrawing:
    """Vertices in colors that change smoothly over the surface.

    Args:
        bodies: gives the body of a mesh by its name; the colors are those of `surface_values`.
        alpha: opacity, in [0, 1].
    """

    bodies: Callable[[str], Body]
    alpha: float = 0.7

    def __call__(self, picture: Picture, person: Person, score: float) -> Picture:
        """The picture with the person's vertices."""
        result = _vertices(person, "vertex")
        values = surface_values(self.bodies(result.mesh))
        return _blend(picture, person, apply(values[result.vertices], JET), result.mask, self.alpha)


@dataclass(frozen=True, eq=False)
class VertexTextureDrawing:
    """One texture of the whole surface put onto people or animals, by the places of vertices in it.

    Args:
        textures: mesh -> its texture, uint8 (T, T, 3).
        bodies: gives the body of a mesh, which must have places in a texture.
        alpha: opacity, in [0, 1].
    """

    textures: Mapping[str, NDArray[np.uint8]]
    bodies: Callable[[str], Body]
    alpha: float = 1.0

    def __call__(self, picture: Picture, person: Person, score: float) -> Picture:
        """The picture with the person in the texture."""
        result = _vertices(person, "cse_texture")
        texture, body = self.textures.get(result.mesh), self.bodies(result.mesh)
        if texture is None:
            fix = f"give one, named {result.mesh}.png"
            raise ConfigError("cse_texture", f"there is no texture for mesh {result.mesh!r}", fix=fix)
        if body.texcoords is None:
            fix = "put texcoords_NAME.pkl into the folder of bodies, or make the body from an OBJ file with vt lines"
            raise ConfigError("cse_texture", f"mesh {result.mesh!r} has no places in a texture", fix=fix)
        u, v = np.clip(body.texcoords[result.vertices], 0, 1).transpose(2, 0, 1)
        rows = ((1 - v) * (texture.shape[0] - 1)).astype(int)
        colors = texture[rows, (u * (texture.shape[1] - 1)).astype(int)].astype(np.float64)
        return _blend(picture, person, colors, result.mask, self.alpha)


@dataclass(frozen=True)
class BoxDrawing:
    """The box and the score of each person."""

    color: tuple[int, int, int] = (255, 80, 60)

    def __call__(self, picture: Picture, person: Person, score: float) -> Picture:
        """The picture with the person's box."""
        image = Image.fromarray(picture.round().clip(0, 255).astype(np.uint8))
        pen = ImageDraw.Draw(image)
        x, y, width, height = person.box
        pen.rectangle((x, y, x + width - 1, y + height - 1), outline=self.color, width=2)
        pen.text((x + 3, y + 2), f"{score:.4f}", fill=self.color)
        return np.asarray(image).astype(np.float64)


def surface_values(body: Body) -> NDArray[np.float64]:
    """A value in [0, 1] for each vertex (V,) that changes smoothly over the surface.

    The second eigenfunction of the Laplacian where features are known, which runs along the body; else the first
    coordinate of classical scaling of the distances to 64 vertices; else the number of the vertex.
    """
    if body.features is not None and (features := body.features()).shape[1] > 1:
        values = features[:, 1].astype(np.float64)
    elif body.geodesics is not None:
        table = body.geodesics()
        indices = np.linspace(0, len(table) - 1, min(64, len(table))).astype(int)
        columns = table[:, indices].astype(np.float64) ** 2
        centered = columns - columns.mean(0) - columns.mean(1, keepdims=True) + columns.mean()
        values = np.linalg.svd(centered, full_matrices=False)[0][:, 0]
    else:
        values = np.arange(body.num_vertices, dtype=np.float64)
    return np.asarray((values - values.min()) / max(np.ptp(values), 1e-12))
