"""Pictures of the synthetic figure with exact ground truth at every pixel."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from det_core.data.images import read_image
from det_core.errors import DataError
from numpy.typing import NDArray

from det_densepose.bodies.body import figure
from det_densepose.render.pose import posed, random_pose
from det_densepose.render.raster import Layers, rasterize
from det_densepose.render.textures import random_atlas, sample_atlas

__all__ = ["Figure", "Picture", "Scenery", "paint"]

_IMAGES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, eq=False)
class Figure:
    """One figure of a picture: what each pixel shows of it, and where nothing covers it.

    Attributes:
        layers: ground truth of the figure as if it were alone.
        visible: pixels that show the figure, bool (H, W).
        atlas: uint8 (24, T, T, 3), what it wears.
    """

    layers: Layers
    visible: NDArray[np.bool_]
    atlas: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, uint8 RGB (H, W, 3), and the figures in it, the farthest first."""

    image: NDArray[np.uint8]
    figures: tuple[Figure, ...]


@dataclass
class Scenery:
    """How pictures are made.

    Args:
        size: (height, width) of a picture in pixels.
        figures: minimum and maximum number of figures in a picture.
        height: minimum and maximum height of a standing figure, relative to the height of the picture.
        backgrounds: folder of background pictures; None for noise.
        upright: whether figures stand upright and face the viewer.

    Raises:
        DataError: the folder holds no picture.
    """

    size: tuple[int, int] = (256, 256)
    figures: tuple[int, int] = (1, 2)
    height: tuple[float, float] = (0.55, 0.95)
    backgrounds: Path | None = None
    upright: bool = False
    _files: list[Path] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.backgrounds is not None:
            folder = Path(self.backgrounds)
            self._files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)
            if not self._files:
                raise DataError(str(folder), "holds no picture to stand behind the figures", fix="check the folder")

    def picture(self, random: np.random.Generator) -> Picture:
        """A picture with some figures of which at least a third is visible."""
        height, width = self.size
        image = self._background(random)
        figures: list[Figure] = []
        for _ in range(int(random.integers(self.figures[0], self.figures[1] + 1))):
            scale = random.uniform(*self.height) * height / 1.78
            center = random.uniform(0.25, 0.75) * width, random.uniform(0.85, 1.05) * height
            pose = random_pose(random, self.upright)
            body = posed(pose)
            body[:, :2] -= (body[:, :2].max(0) + body[:, :2].min(0)) / 2
            half = scale * np.ptp(body[:, 1]) / 2
            middle = float(np.clip(center[1] - half, min(half, height / 2), max(height - half, height / 2)))
            layers = rasterize(figure(), body, self.size, scale, (center[0], middle))
            rest = [each.visible & ~layers.mask for each in figures]
            visible_enough = [
                bool(left.sum() * 3 > each.layers.mask.sum()) for left, each in zip(rest, figures, strict=True)
            ]
            if layers.mask.sum() < 64 or not all(visible_enough):
                continue
            atlas = random_atlas(random)
            image = paint(image, layers, atlas)
            figures = [Figure(each.layers, left, each.atlas) for each, left in zip(figures, rest, strict=True)]
            figures.append(Figure(layers, layers.mask, atlas))
        grain = random.normal(0, 3, image.shape)
        return Picture((image + grain).round().clip(0, 255).astype(np.uint8), tuple(figures))

    def _background(self, random: np.random.Generator) -> NDArray[np.float64]:
        height, width = self.size
        if not self._files:
            return _noise(random, self.size)
        picture = read_image(self._files[int(random.integers(len(self._files)))]).permute(1, 2, 0).numpy()
        repeats = (-(-height // picture.shape[0]), -(-width // picture.shape[1]), 1)
        picture = np.tile(picture, repeats)
        top = int(random.integers(picture.shape[0] - height + 1))
        left = int(random.integers(picture.shape[1] - width + 1))
        return picture[top : top + height, left : left + width].astype(np.float64)


def paint(image: NDArray[Any], layers: Layers, atlas: NDArray[np.uint8], ambient: float = 0.45) -> NDArray[np.float64]:
    """A picture (H, W, 3) with a figure drawn over it: its texture, lit; `ambient` 1 leaves the texture as it is."""
    colors = sample_atlas(atlas, layers.part, layers.u, layers.v)
    lit = ambient + (1 - ambient) * layers.light[..., None]
    return np.where(layers.mask[..., None], colors * lit, image)


def _noise(random: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
    """Blobs of several sizes, (H, W, 3), 0 to 255."""
    noise = np.full((*size, 3), random.uniform(60, 190, 3))
    for cells, strength in ((3, 45), (9, 30), (27, 18)):
        coarse = random.normal(0, strength, (cells + 1, cells + 1, 3))
        ys, xs = np.linspace(0, cells, size[0], endpoint=False), np.linspace(0, cells, size[1], endpoint=False)
        y, x = ys.astype(int), xs.astype(int)
        fy, fx = (ys - y)[:, None, None], (xs - x)[None, :, None]
        upper = coarse[y][:, x] * (1 - fx) + coarse[y][:, x + 1] * fx
        lower = coarse[y + 1][:, x] * (1 - fx) + coarse[y + 1][:, x + 1] * fx
        noise += upper * (1 - fy) + lower * fy
    return noise.clip(0, 255)
