"""Anchors: boxes of fixed sizes and shapes laid over every feature map."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from det_core.errors import ConfigError

__all__ = ["AnchorGenerator"]


class AnchorGenerator(nn.Module):
    """Lays anchors of every size and aspect ratio around every feature pixel.

    Args:
        strides: level -> input pixels per feature pixel.
        sizes: for each level, the square roots of the anchors' areas in pixels; one entry serves all levels.
        scales: the sizes as multiples of each level's stride, where `sizes` does not say them.
        aspect_ratios: for each level, heights divided by widths; one entry serves all levels.
        offset: where in its pixel an anchor is centred: 0 the upper left corner, 0.5 the middle.
    """

    def __init__(
        self,
        strides: Mapping[str, int],
        *,
        sizes: Sequence[Sequence[float]] | None = None,
        scales: Sequence[float] = (8.0,),
        aspect_ratios: Sequence[Sequence[float]] = ((0.5, 1.0, 2.0),),
        offset: float = 0.0,
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
        cells = [[_cell(size, ratio) for size in level for ratio in ratios] for level, ratios in per_level]
        self.per_pixel = [len(cell) for cell in cells]
        for i, cell in enumerate(cells):
            self.register_buffer(f"cell{i}", torch.tensor(cell).reshape(-1, 4), persistent=False)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The anchors of each level (B, C, H, W): float32 (H * W * per_pixel, 4), by row, then column, then anchor."""
        return [self._grid(i, level.shape[-2], level.shape[-1]) for i, level in enumerate(features)]

    def _grid(self, level: int, height: int, width: int) -> Tensor:
        cell = self.get_buffer(f"cell{level}")
        stride = self.strides[level]
        y = (torch.arange(height, device=cell.device, dtype=torch.float32) + self.offset) * stride
        x = (torch.arange(width, device=cell.device, dtype=torch.float32) + self.offset) * stride
        y, x = torch.meshgrid(y, x, indexing="ij")
        return (torch.stack((x, y, x, y), dim=-1)[:, :, None] + cell).reshape(-1, 4)


def _per_level(name: str, values: Sequence[Sequence[float]], levels: int) -> Sequence[Sequence[float]]:
    if len(values) not in (1, levels) or not all(len(value) for value in values):
        problem = f"needs one list for all levels or one for each of the {levels}"
        raise ConfigError(f"AnchorGenerator.{name}", problem, f"got {[list(value) for value in values]}")
    return list(values) * levels if len(values) == 1 else values


def _cell(size: float, ratio: float) -> list[float]:
    """The anchor of area `size` squared and height / width `ratio`, around the origin."""
    width = math.sqrt(size**2 / ratio)
    height = ratio * width
    return [-width / 2, -height / 2, width / 2, height / 2]
