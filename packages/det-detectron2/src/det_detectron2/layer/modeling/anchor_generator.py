"""Anchors, as `detectron2.modeling.anchor_generator`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from det_detectron2.layer.config import configurable
from det_detectron2.layer.layers import ShapeSpec
from det_detectron2.layer.structures import Boxes, RotatedBoxes
from det_detectron2.layer.utils.registry import Registry

__all__ = ["ANCHOR_GENERATOR_REGISTRY", "DefaultAnchorGenerator", "RotatedAnchorGenerator", "build_anchor_generator"]

ANCHOR_GENERATOR_REGISTRY = Registry("ANCHOR_GENERATOR")
"""Classes that are made of `(cfg, input_shape)`, the shapes of the levels."""


class _Cells(nn.Module):
    """The anchors around the origin, by level; they are not saved."""

    def __init__(self, cells: Sequence[Tensor]) -> None:
        super().__init__()
        for place, cell in enumerate(cells):
            self.register_buffer(str(place), cell, persistent=False)

    def __len__(self) -> int:
        return len(self._buffers)

    def __iter__(self) -> Any:
        return iter(self._buffers.values())


def _per_level(values: Any, levels: int, name: str) -> list[list[float]]:
    assert len(values), f"{name} cannot be empty"
    values = [values] if not isinstance(values[0], Sequence) else values
    if len(values) == 1:
        return [list(values[0])] * levels
    assert len(values) == levels, f"{name} of {len(values)} levels, but there are {levels}"
    return [list(each) for each in values]


def _grid(size: Sequence[int], stride: int, offset: float, device: torch.device) -> tuple[Tensor, Tensor]:
    height, width = size
    x = torch.arange(offset * stride, width * stride, step=stride, dtype=torch.float32, device=device)
    y = torch.arange(offset * stride, height * stride, step=stride, dtype=torch.float32, device=device)
    y, x = torch.meshgrid(y, x, indexing="ij")
    return x.reshape(-1), y.reshape(-1)


class _AnchorGenerator(nn.Module):
    """Anchors around the origin by level, and what both kinds of generators share."""

    generate_cell_anchors: Callable[..., Tensor]

    def __init__(self, strides: Sequence[int], offset: float, **lists: Any) -> None:
        super().__init__()
        self.strides = list(strides)
        self.num_features = len(self.strides)
        levels = (_per_level(each, self.num_features, name) for name, each in lists.items())
        self.cell_anchors = _Cells([self.generate_cell_anchors(*each).float() for each in zip(*levels, strict=True)])
        self.offset = offset
        assert 0.0 <= self.offset < 1.0, self.offset

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Sequence[ShapeSpec]) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        current = cfg.MODEL.ANCHOR_GENERATOR
        return {
            "sizes": current.SIZES,
            "aspect_ratios": current.ASPECT_RATIOS,
            "strides": [each.stride for each in input_shape],
            "offset": current.OFFSET,
        }

    @property
    def num_anchors(self) -> list[int]:
        """Of a pixel, by level."""
        return [len(cell) for cell in self.cell_anchors]

    num_cell_anchors = num_anchors


@ANCHOR_GENERATOR_REGISTRY.register()
class DefaultAnchorGenerator(_AnchorGenerator):
    """All sizes and aspect ratios at each pixel of each level.

    Args:
        sizes: anchor sizes (square root of the area) in pixels, per level or shared by all levels.
        aspect_ratios: height / width of anchors, per level or shared by all levels.
        strides: strides of the feature levels in pixels.
        offset: offset of the first anchor center, in units of the stride, in [0, 1).
    """

    box_dim: int = 4

    @configurable
    def __init__(self, *, sizes: Any, aspect_ratios: Any, strides: Sequence[int], offset: float = 0.5) -> None:
        super().__init__(strides, offset, sizes=sizes, aspect_ratios=aspect_ratios)

    def generate_cell_anchors(
        self, sizes: Sequence[float] = (32, 64, 128, 256, 512), aspect_ratios: Sequence[float] = (0.5, 1, 2)
    ) -> Tensor:
        """(sizes x ratios, 4) around the origin."""
        results = []
        for size in sizes:
            for ratio in aspect_ratios:
                width = math.sqrt(size**2.0 / ratio)
                height = ratio * width
                results.append([-width / 2.0, -height / 2.0, width / 2.0, height / 2.0])
        return torch.tensor(results)

    def forward(self, features: Sequence[Tensor]) -> list[Boxes]:
        """The anchors of each level (N, C, H, W): (H * W * anchors, 4), by row, column and anchor."""
        results = []
        for level, stride, cell in zip(features, self.strides, self.cell_anchors, strict=True):
            x, y = _grid(level.shape[-2:], stride, self.offset, cell.device)
            shifts = torch.stack((x, y, x, y), dim=1)
            results.append(Boxes((shifts.view(-1, 1, 4) + cell.view(1, -1, 4)).reshape(-1, 4)))
        return results


@ANCHOR_GENERATOR_REGISTRY.register()
class RotatedAnchorGenerator(_AnchorGenerator):
    """All sizes, aspect ratios and angles at each pixel of each level.

    Args:
        sizes: anchor sizes (square root of the area) in pixels, per level or shared by all levels.
        aspect_ratios: height / width of anchors, per level or shared by all levels.
        strides: strides of the feature levels in pixels.
        angles: rotation angles in degrees, counter-clockwise, per level or shared by all levels.
        offset: offset of the first anchor center, in units of the stride, in [0, 1).
    """

    box_dim: int = 5

    @configurable
    def __init__(
        self, *, sizes: Any, aspect_ratios: Any, strides: Sequence[int], angles: Any, offset: float = 0.5
    ) -> None:
        super().__init__(strides, offset, sizes=sizes, aspect_ratios=aspect_ratios, angles=angles)

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Sequence[ShapeSpec]) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        return {**super().from_config(cfg, input_shape), "angles": cfg.MODEL.ANCHOR_GENERATOR.ANGLES}

    def generate_cell_anchors(
        self,
        sizes: Sequence[float] = (32, 64, 128, 256, 512),
        aspect_ratios: Sequence[float] = (0.5, 1, 2),
        angles: Sequence[float] = (-90, -60, -30, 0, 30, 60, 90),
    ) -> Tensor:
        """(sizes x ratios x angles, 5) around the origin."""
        results: list[list[float]] = []
        for size in sizes:
            for ratio in aspect_ratios:
                width = math.sqrt(size**2.0 / ratio)
                results.extend([0.0, 0.0, width, ratio * width, float(angle)] for angle in angles)
        return torch.tensor(results)

    def forward(self, features: Sequence[Tensor]) -> list[RotatedBoxes]:
        """The anchors of each level (N, C, H, W): (H * W * anchors, 5), by row, column and anchor."""
        results = []
        for level, stride, cell in zip(features, self.strides, self.cell_anchors, strict=True):
            x, y = _grid(level.shape[-2:], stride, self.offset, cell.device)
            zero = torch.zeros_like(x)
            shifts = torch.stack((x, y, zero, zero, zero), dim=1)
            results.append(RotatedBoxes((shifts.view(-1, 1, 5) + cell.view(1, -1, 5)).reshape(-1, 5)))
        return results


def build_anchor_generator(cfg: Any, input_shape: Sequence[ShapeSpec]) -> nn.Module:
    """The generator that MODEL.ANCHOR_GENERATOR.NAME names."""
    built: nn.Module = ANCHOR_GENERATOR_REGISTRY.get(cfg.MODEL.ANCHOR_GENERATOR.NAME)(cfg, input_shape)
    return built
