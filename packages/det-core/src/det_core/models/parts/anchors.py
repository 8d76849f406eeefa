"""Anchors: boxes of fixed sizes and shapes at every feature pixel."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from det_core import contracts
from det_core.errors import ConfigError

__all__ = ["AnchorGenerator", "anchors_per_pixel"]


class AnchorGenerator(nn.Module):
    """Generates anchors of all sizes, aspect ratios and, optionally, angles at every feature pixel.

    Args:
        strides: input pixels per feature pixel of each level.
        sizes: square roots of the anchor areas in pixels, per level; one entry for all levels.
        scales: sizes as multiples of the stride of a level, in place of `sizes`.
        aspect_ratios: heights divided by widths, per level; one entry for all levels.
        angles: rotation angles in degrees, counter-clockwise, per level; one entry for all levels. None for upright
            boxes.
        offset: anchor centre in its feature pixel: 0 for the top left corner, 0.5 for the centre.
        rounded: whether upright corners relative to the centre are rounded to integers, as in torchvision.

    Attributes:
        per_pixel: number of anchors per feature pixel, by level.
        box_dim: numbers per anchor: 4 (x0, y0, x1, y1), or 5 (cx, cy, w, h, angle) with `angles`.
    """

    contract = "AnchorGenerator"

    def __init__(
        self,
        strides: Mapping[str, int],
        *,
        sizes: Sequence[Sequence[float]] | None = None,
        scales: Sequence[float] = (8.0,),
        aspect_ratios: Sequence[Sequence[float]] = ((0.5, 1.0, 2.0),),
        angles: Sequence[Sequence[float]] | None = None,
        offset: float = 0.0,
        rounded: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= offset < 1:
            raise ConfigError("AnchorGenerator.offset", "must be in [0, 1)", f"got {offset}")
        self.strides, self.offset = tuple(strides.values()), offset
        per_level = zip(
            _per_level(
                "sizes", sizes or [[scale * stride for scale in scales] for stride in self.strides], len(strides)
            ),
            _per_level("aspect_ratios", aspect_ratios, len(strides)),
            strict=True,
        )
        shapes = [[_shape(size, ratio) for size in level for ratio in ratios] for level, ratios in per_level]
        self.box_dim = 4 if angles is None else 5
        cells: list[list[tuple[float, ...]]]
        if angles is None:
            whole: Callable[[float], float] = round if rounded else float
            halves = [[(whole(w / 2), whole(h / 2)) for w, h in level] for level in shapes]
            cells = [[(-w, -h, w, h) for w, h in level] for level in halves]
        else:
            turns = _per_level("angles", angles, len(strides))
            cells = [_rotated(level, level_angles) for level, level_angles in zip(shapes, turns, strict=True)]
        self.per_pixel: Sequence[int] = [len(cell) for cell in cells]
        for i, cell in enumerate(cells):
            self.register_buffer(f"cell{i}", torch.tensor(cell).reshape(-1, self.box_dim), persistent=False)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Anchors of each level (B, C, H, W): float32 (H * W * per_pixel, box_dim), by row, column, then anchor."""
        return [self._grid(i, level.shape[-2], level.shape[-1]) for i, level in enumerate(features)]

    def _grid(self, level: int, height: int, width: int) -> Tensor:
        cell = self.get_buffer(f"cell{level}")
        stride = self.strides[level]
        y = (torch.arange(height, device=cell.device, dtype=torch.float32) + self.offset) * stride
        x = (torch.arange(width, device=cell.device, dtype=torch.float32) + self.offset) * stride
        y, x = torch.meshgrid(y, x, indexing="ij")
        zero = torch.zeros_like(x)
        places = (x, y, x, y) if self.box_dim == 4 else (x, y, zero, zero, zero)
        return (torch.stack(places, dim=-1)[:, :, None] + cell).reshape(-1, self.box_dim)


def anchors_per_pixel(where: str, generator: contracts.AnchorGenerator) -> int:
    """Number of anchors per feature pixel; ConfigError if levels differ, as they share one head."""
    counts = set(generator.per_pixel)
    if len(counts) != 1:
        raise ConfigError(where, "needs as many anchors at every level", f"got {sorted(counts)}")
    return counts.pop()


def _per_level(name: str, values: Sequence[Sequence[float]], levels: int) -> Sequence[Sequence[float]]:
    if len(values) not in (1, levels) or not all(len(value) for value in values):
        problem = f"needs one list for all levels or one for each of the {levels}"
        raise ConfigError(f"AnchorGenerator.{name}", problem, f"got {[list(value) for value in values]}")
    return list(values) * levels if len(values) == 1 else values


def _shape(size: float, ratio: float) -> tuple[float, float]:
    """Width and height of the anchor of area `size` squared and height / width `ratio`."""
    width = math.sqrt(size**2 / ratio)
    return width, ratio * width


def _rotated(shapes: Sequence[tuple[float, float]], angles: Sequence[float]) -> list[tuple[float, ...]]:
    """Every shape at every angle, around the origin; ordered by shape, then angle."""
    return [(0.0, 0.0, width, height, float(angle)) for width, height in shapes for angle in angles]
