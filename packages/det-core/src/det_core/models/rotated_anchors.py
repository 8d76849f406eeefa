"""Anchors that are turned."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from det_core.errors import ConfigError
from det_core.models.anchors import AnchorGenerator

__all__ = ["RotatedAnchorGenerator"]


class RotatedAnchorGenerator(nn.Module):
    """Lays anchors of every size, aspect ratio and angle around every feature pixel.

    Args:
        strides: level -> input pixels per feature pixel.
        sizes: as in `AnchorGenerator`.
        scales: as in `AnchorGenerator`.
        aspect_ratios: as in `AnchorGenerator`.
        angles: in degrees, counter-clockwise; the same for all levels.
        offset: as in `AnchorGenerator`.
    """

    def __init__(
        self,
        strides: Mapping[str, int],
        *,
        sizes: Sequence[Sequence[float]] | None = None,
        scales: Sequence[float] = (8.0,),
        aspect_ratios: Sequence[Sequence[float]] = ((0.5, 1.0, 2.0),),
        angles: Sequence[float] = (-90.0, 0.0, 90.0),
        offset: float = 0.0,
    ) -> None:
        super().__init__()
        if not angles:
            raise ConfigError("RotatedAnchorGenerator.angles", "needs at least one angle", "there is none")
        self.upright = AnchorGenerator(strides, sizes=sizes, scales=scales, aspect_ratios=aspect_ratios, offset=offset)
        self.per_pixel = [count * len(angles) for count in self.upright.per_pixel]
        self.register_buffer("angles", torch.tensor([float(angle) for angle in angles]), persistent=False)

    angles: Tensor

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The anchors of each level (B, C, H, W): float32 (H * W * per_pixel, 5), by row, column, shape, then angle."""
        return [self._turned(level) for level in self.upright(features)]

    def _turned(self, boxes: Tensor) -> Tensor:
        upright = torch.cat(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), dim=1)
        angles = self.angles.expand(len(boxes), -1)
        return torch.cat((upright[:, None].expand(-1, angles.shape[1], -1), angles[..., None]), dim=2).reshape(-1, 5)
