"""Anchors: boxes of fixed sizes and shapes laid over every feature map."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from det_core import contracts
from det_core.errors import ConfigError

__all__ = ["AnchorGenerator", "anchors_per_pixel"]


class AnchorGenerator(nn.Module):
    """Lays anchors of every size and aspect ratio, and of every angle if there are any, around every feature pixel.

    Args:
        strides: level -> input pixels per feature pixel.
        sizes: for each level, the square roots of the anchors' areas in pixels; one entry serves all levels.
        scales: the sizes as multiples of each level's stride, where `sizes` does not say them.
        aspect_ratios: for each level, heights divided by widths; one entry serves all levels.
        angles: for each level, how far the anchors are turned, in degrees, counter-clockwise; one entry serves all
            levels. None lays upright boxes.
        offset: where in its pixel an anchor is centred: 0 the upper left corner, 0.5 the middle.
        rounded: move the corners of upright boxes around their centre to whole numbers, as torchvision does.

    Attributes:
        per_pixel: how many anchors a feature pixel has, by level.
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
            cells = [_turned(level, own) for level, own in zip(shapes, turns, strict=True)]
        self.per_pixel = [len(cell) for cell in cells]
        for i, cell in enumerate(cells):
            self.register_buffer(f"cell{i}", torch.tensor(cell).reshape(-1, self.box_dim), persistent=False)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The anchors of each level (B, C, H, W): float32 (H * W * per_pixel, box_dim), by row, column, then anchor."""
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
    """Anchors of a feature pixel; ConfigError if levels differ, as one head serves them all."""
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


def _turned(shapes: Sequence[tuple[float, float]], angles: Sequence[float]) -> list[tuple[float, ...]]:
    """Every shape at every angle, around the origin; the angles of a shape stand together."""
    return [(0.0, 0.0, width, height, float(angle)) for width, height in shapes for angle in angles]
