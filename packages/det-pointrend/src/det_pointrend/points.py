"""Points in images, maps and boxes: coordinates, bilinear sampling, and sampling by uncertainty.

After Kirillov et al., "PointRend: image segmentation as rendering", 2020, and its published implementation. Points are
(x, y). Relative coordinates in a box or a map run from 0, its left or top edge, to 1, its right or bottom edge.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from det_core.errors import ConfigError
from det_core.ops.global_batch import first_generator, image_rand
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "PointFeatures",
    "PointSampler",
    "Subdivision",
    "at_points",
    "grid",
    "masks_at",
    "most_uncertain_cells",
    "points_in_image",
    "rows_of",
    "sample_uncertain_points",
    "shares_of_box",
]


def at_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples (N, C, P) of maps (N, C, H, W) at relative coordinates (N, P, 2).

    Values belong to the centres of cells; outside of the map everything is 0.
    """
    # Not in half precision, where a coordinate beyond 256 is off by a pixel or more.
    precise = torch.promote_types(maps.dtype, torch.float32)
    places = points.to(precise)[:, :, None] * 2 - 1
    return F.grid_sample(maps.to(precise), places, align_corners=False)[..., 0].to(maps.dtype)


def grid(side: int, like: Tensor) -> Tensor:
    """Relative coordinates of the centres of `side` x `side` cells, row by row: (side ** 2, 2), on `like`'s device."""
    centers = (torch.arange(side, device=like.device, dtype=torch.float32) + 0.5) / side
    y, x = torch.meshgrid(centers, centers, indexing="ij")
    return torch.stack((x, y), dim=-1).flatten(0, 1)


def points_in_image(boxes: Tensor, points: Tensor) -> Tensor:
    """Relative coordinates (R, P, 2) in boxes (R, 4) to image coordinates in pixels."""
    return boxes[:, None, :2] + points * (boxes[:, None, 2:] - boxes[:, None, :2])


def shares_of_box(boxes: Tensor, points: Tensor) -> Tensor:
    """Image coordinates (R, P, 2) in pixels to relative ones in boxes (R, 4); below 0 or above 1 outside of them."""
    return (points - boxes[:, None, :2]) / (boxes[:, None, 2:] - boxes[:, None, :2])


class PointFeatures:
    """Features of some backbone levels at points, concatenated.

    Args:
        where: name of the part that uses it, for messages.
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        names: sampled levels; None for the finest.

    Attributes:
        channels: total channels of these levels.

    Raises:
        ConfigError: the backbone has no level of such a name.
    """

    def __init__(
        self, where: str, channels: Mapping[str, int], strides: Mapping[str, int], names: Sequence[str] | None
    ) -> None:
        if names is None:
            names = [min(strides, key=lambda name: strides[name])]
        if not names or any(name not in channels for name in names):
            found = f"got {list(names)}; there are {', '.join(channels)}"
            raise ConfigError(where, "must name levels of the backbone", found)
        self.names, self.strides = tuple(names), {name: strides[name] for name in names}
        self.channels = sum(channels[name] for name in names)

    def __call__(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor], points: Tensor) -> Tensor:
        """Relative coordinates (R, P, 2) in the boxes (R_i, 4) of all images, concatenated, to (R, channels, P)."""
        sampled = []
        for image, (image_boxes, shares) in enumerate(zip(boxes, points.split([len(b) for b in boxes]), strict=True)):
            places = points_in_image(image_boxes, shares)
            sampled.append(torch.cat([self._sample(name, features[name][image], places) for name in self.names], dim=1))
        return torch.cat(sampled)

    def of_images(self, features: Mapping[str, Tensor], points: Tensor) -> Tensor:
        """Relative coordinates (B, P, 2) in the images of a padded batch to (B, channels, P)."""
        return torch.cat([at_points(features[name], points) for name in self.names], dim=1)

    def _sample(self, name: str, level: Tensor, places: Tensor) -> Tensor:
        """A level (C, H, W) of one image at pixels (R, P, 2), as (R, C, P)."""
        height, width = level.shape[-2:]
        shares = places / places.new_tensor([width, height]) / self.strides[name]
        # All points of all boxes at once, so that the level is not repeated for each box.
        return at_points(level[None], shares.flatten(0, 1)[None])[0].unflatten(1, places.shape[:2]).transpose(0, 1)


def masks_at(masks: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples of masks, bool (R, H, W), each at points (R, P, 2), in pixels: (R, P) from 0 to 1."""
    height, width = masks.shape[1:]
    row = torch.arange(len(masks), device=masks.device)[:, None]
    corner = (points - 0.5).floor()
    x_share, y_share = (points - 0.5 - corner).unbind(-1)
    x, y = corner.long().unbind(-1)
    value = points.new_zeros(points.shape[:2])
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        inside = (x + dx >= 0) & (x + dx < width) & (y + dy >= 0) & (y + dy < height)
        weight = (x_share if dx else 1 - x_share) * (y_share if dy else 1 - y_share)
        value += weight * (inside & masks[row, (y + dy).clamp(0, height - 1), (x + dx).clamp(0, width - 1)])
    return value


@dataclass(frozen=True)
class PointSampler:
    """Sampling of the points of a loss.

    Attributes:
        num_points: number of points per region or image.
        oversample: number of candidates as a multiple of `num_points`, at least 1.
        importance: fraction of the points that are the most uncertain candidates, in [0, 1].
    """

    num_points: int = 196
    oversample: float = 3.0
    importance: float = 0.75

    def __post_init__(self) -> None:
        if self.oversample < 1 or not 0 <= self.importance <= 1:
            found = f"got {self.oversample} and {self.importance}"
            raise ConfigError("PointSampler", "oversample must be at least 1, importance from 0 to 1", found)

    def __call__(
        self, logits: Tensor, uncertainty: Callable[[Tensor], Tensor], images: Sequence[int] | None = None
    ) -> Tensor:
        """Relative coordinates (R, num_points, 2) in the regions, see `sample_uncertain_points`."""
        return sample_uncertain_points(logits, uncertainty, self.num_points, self.oversample, self.importance, images)


@dataclass(frozen=True)
class Subdivision:
    """Refinement of a mask at inference.

    Attributes:
        steps: number of doublings of the mask side.
        points: number of points predicted again after each doubling, the most uncertain ones.
    """

    steps: int = 3
    points: int = 784


def rows_of(regions: Sequence[Tensor]) -> list[int]:
    """The image index of each region, for regions (R_i, ...) of all images of a batch, concatenated."""
    return [image for image, each in enumerate(regions) for _ in range(len(each))]


def sample_uncertain_points(
    logits: Tensor,
    uncertainty: Callable[[Tensor], Tensor],
    count: int,
    oversample: float,
    importance: float,
    images: Sequence[int] | None = None,
) -> Tensor:
    """Sample training points, more of them where coarse logits are uncertain (section 3.1 of the paper).

    Args:
        logits: coarse logits (N, C, H, W).
        uncertainty: function from logits (N, C, P) at points to (N, P); larger is more uncertain.
        count: number of points per row.
        oversample: number of uniform candidates as a multiple of `count`.
        importance: fraction of `count` that are the most uncertain candidates; the rest is drawn from the others.
        images: image index of each row, which selects its random numbers in a training step; None for the row number.

    Returns:
        Relative coordinates (N, count, 2).
    """
    images = range(len(logits)) if images is None else images
    candidates = image_rand(images, 2 * int(count * oversample), logits.device).unflatten(1, (-1, 2))
    order = uncertainty(at_points(logits.float(), candidates)).argsort(dim=1, descending=True)
    uncertain = int(importance * count)
    others = _permutations(images, candidates.shape[1] - uncertain, logits.device)[:, : count - uncertain]
    rows = torch.cat((order[:, :uncertain], order.gather(1, uncertain + others)), dim=1)
    return candidates.gather(1, rows[..., None].expand(-1, -1, 2))


def _permutations(images: Sequence[int], count: int, device: torch.device) -> Tensor:
    """Random permutations of the numbers below `count`, int64 (len(images), count)."""
    if first_generator() is None:
        # The points are random already, so one permutation serves all rows.
        return torch.randperm(count, device=device).expand(len(images), -1)
    return image_rand(images, count, device).argsort(dim=1)


def most_uncertain_cells(uncertainty: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The cells of maps (N, H, W) with the largest values: flat indices (N, P) and centres (N, P, 2).

    P is `count`, or the number of cells if that is less; centres are relative coordinates.
    """
    height, width = uncertainty.shape[1:]
    places = uncertainty.flatten(1).topk(min(count, height * width), dim=1).indices
    x, y = (places % width + 0.5) / width, (places // width + 0.5) / height
    return places, torch.stack((x, y), dim=-1)
