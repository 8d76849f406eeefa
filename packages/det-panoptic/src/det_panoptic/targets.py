"""Training targets of Panoptic-DeepLab (Cheng et al., "Panoptic-DeepLab", 2020)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from det_core.errors import ConfigError
from torch import Tensor

from det_panoptic.segments import Segments

__all__ = ["PixelTargets", "TargetGenerator"]

_UNKNOWN = 255


class PixelTargets(NamedTuple):
    """Targets of one image.

    Attributes:
        semantic: int64 (H, W): class of each pixel, 255 where ignored.
        semantic_weights: float32 (H, W): weight of the semantic loss of each pixel.
        centers: float32 (1, H, W): a Gaussian around the centre of each thing, with a peak of 1.
        center_weights: float32 (1, H, W): 1 where `centers` has a target, otherwise 0.
        offsets: float32 (2, H, W): vertical and horizontal offset to the centre of the pixel's thing, in pixels;
            otherwise 0.
        offset_weights: float32 (1, H, W): 1 where `offsets` has a target, otherwise 0.
        points: float64 (K, 2): y and x of the centre of each non-empty thing.
    """

    semantic: Tensor
    semantic_weights: Tensor
    centers: Tensor
    center_weights: Tensor
    offsets: Tensor
    offset_weights: Tensor
    points: Tensor


@dataclass(frozen=True)
class TargetGenerator:
    """Generates the targets from segments.

    Centres are centers of mass. Void and crowds have neither centre nor offset targets.

    Args:
        sigma: standard deviation of the Gaussian around a centre, in pixels; it is truncated at three sigma.
        ignore_stuff_in_offset: whether only things have offset targets.
        small_area: area in pixels below which a thing is small.
        small_weight: weight of the semantic loss on small things.
        ignore_crowd_in_semantic: whether the class of crowds is ignored.
    """

    sigma: int = 10
    ignore_stuff_in_offset: bool = True
    small_area: int = 4096
    small_weight: float = 3.0
    ignore_crowd_in_semantic: bool = False

    def __post_init__(self) -> None:
        if self.sigma < 1:
            raise ConfigError("TargetGenerator.sigma", "must be at least 1", f"got {self.sigma}")

    def __call__(self, segments: Segments) -> PixelTargets:
        """Targets of one image; segments without pixels, as after a crop, are skipped."""
        ids = segments.ids
        areas = segments.areas()
        things = segments.things & (areas > 0)
        labelled = ~segments.crowd if self.ignore_crowd_in_semantic else torch.ones_like(segments.crowd)
        labels = torch.where(labelled, segments.labels, _UNKNOWN)
        weights = torch.where(things & (areas < self.small_area), self.small_weight, 1.0)
        single = ~segments.crowd
        supervised = single & segments.things if self.ignore_stuff_in_offset else single
        middles = _centers_of_mass(ids, areas)
        grid = torch.stack(torch.meshgrid(*(_places(n, ids) for n in ids.shape), indexing="ij"))
        offsets = middles.float().T[:, (ids - 1).clamp(min=0)] - grid if len(areas) else torch.zeros_like(grid)
        return PixelTargets(
            semantic=_spread(labels, ids, _UNKNOWN),
            semantic_weights=_spread(weights, ids, 1.0),
            centers=self._gaussians(middles[things], ids)[None],
            center_weights=_spread(single.float(), ids, 0.0)[None],
            offsets=offsets * _spread(things.float(), ids, 0.0),
            offset_weights=_spread(supervised.float(), ids, 0.0)[None],
            points=middles[things],
        )

    def _gaussians(self, points: Tensor, like: Tensor) -> Tensor:
        """Maximum of the Gaussians around points (K, 2) at each pixel, float32 of the shape of `like`."""
        reach = 3 * self.sigma + 1
        heat = torch.zeros(like.shape, device=like.device)
        along = torch.arange(-reach, reach + 1, device=like.device, dtype=torch.float64)
        slope = torch.exp(-along.square() / (2 * self.sigma**2))
        gaussian = (slope[:, None] * slope).float()
        height, width = like.shape
        for y, x in points.round().long().tolist():
            top, left = max(0, y - reach), max(0, x - reach)
            bottom, right = min(height, y + reach + 1), min(width, x + reach + 1)
            window = heat[top:bottom, left:right]
            clipped = gaussian[top - y + reach : bottom - y + reach, left - x + reach : right - x + reach]
            torch.maximum(window, clipped, out=window)
        return heat


def _spread(values: Tensor, ids: Tensor, void: float) -> Tensor:
    """The value of its segment at each pixel."""
    return torch.cat((values.new_full((1,), void), values))[ids]


def _places(length: int, like: Tensor) -> Tensor:
    return torch.arange(length, device=like.device, dtype=torch.float32)


def _centers_of_mass(ids: Tensor, areas: Tensor) -> Tensor:
    """Mean y and x of the pixels of each segment, float64 (S, 2); undefined for empty segments."""
    means = []
    for axis in (0, 1):
        place = torch.arange(ids.shape[axis], device=ids.device, dtype=torch.float64)
        place = place.unsqueeze(1 - axis).expand(ids.shape)
        sums = torch.bincount(ids.flatten(), place.flatten(), minlength=len(areas) + 1)[1:]
        means.append(sums / areas.clamp(min=1))
    return torch.stack(means, dim=1)
