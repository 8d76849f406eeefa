"""Points in images, maps and boxes: where they are, what a map shows there, and which of them matter.

After Kirillov et al., "PointRend: image segmentation as rendering", 2020, and its published implementation. Places are
(x, y). Shares of a box or of a map run from 0, its left or top edge, to 1, its right or bottom edge.
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
    "drawn_where_uncertain",
    "grid",
    "masks_at",
    "most_uncertain_cells",
    "points_in_image",
    "rows_of",
    "shares_of_box",
]


def at_points(maps: Tensor, points: Tensor) -> Tensor:
    """What maps (N, C, H, W) show at shares (N, P, 2) of them, interpolated between their cells: (N, C, P).

    A cell's value stands at its centre; outside of the map everything is 0.
    """
    # Not in half precision: there a coordinate beyond 256 is off by a pixel or more.
    precise = torch.promote_types(maps.dtype, torch.float32)
    places = points.to(precise)[:, :, None] * 2 - 1
    return F.grid_sample(maps.to(precise), places, align_corners=False)[..., 0].to(maps.dtype)


def grid(side: int, like: Tensor) -> Tensor:
    """The centres of `side` x `side` cells, row by row, as shares: (side ** 2, 2) on the device of `like`."""
    centres = (torch.arange(side, device=like.device, dtype=torch.float32) + 0.5) / side
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack((x, y), dim=-1).flatten(0, 1)


def points_in_image(boxes: Tensor, points: Tensor) -> Tensor:
    """Shares (R, P, 2) of boxes (R, 4) as pixels of their image."""
    return boxes[:, None, :2] + points * (boxes[:, None, 2:] - boxes[:, None, :2])


def shares_of_box(boxes: Tensor, points: Tensor) -> Tensor:
    """Pixels (R, P, 2) as shares of boxes (R, 4); below 0 or above 1 outside of them."""
    return (points - boxes[:, None, :2]) / (boxes[:, None, 2:] - boxes[:, None, :2])


class PointFeatures:
    """What some levels of a backbone show at points, one level's channels after another's.

    Args:
        where: the part that asks, for messages.
        channels: level -> channels, from the backbone.
        strides: level -> stride, from the backbone.
        names: the levels that are looked at; None is the finest.

    Attributes:
        channels: of all these levels together.

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
        """Shares (R, P, 2) of the boxes (R_i, 4) of all images, one after another, to (R, channels, P)."""
        seen = []
        for image, (own, shares) in enumerate(zip(boxes, points.split([len(b) for b in boxes]), strict=True)):
            places = points_in_image(own, shares)
            seen.append(torch.cat([self._seen(name, features[name][image], places) for name in self.names], dim=1))
        return torch.cat(seen)

    def of_images(self, features: Mapping[str, Tensor], points: Tensor) -> Tensor:
        """Shares (B, P, 2) of the images of a padded batch to (B, channels, P)."""
        return torch.cat([at_points(features[name], points) for name in self.names], dim=1)

    def _seen(self, name: str, level: Tensor, places: Tensor) -> Tensor:
        """A level (C, H, W) of one image at pixels (R, P, 2), to (R, C, P)."""
        height, width = level.shape[-2:]
        shares = places / places.new_tensor([width, height]) / self.strides[name]
        # All points of all boxes at once, so that the level is not repeated for each box.
        return at_points(level[None], shares.flatten(0, 1)[None])[0].unflatten(1, places.shape[:2]).transpose(0, 1)


def masks_at(masks: Tensor, points: Tensor) -> Tensor:
    """How much of each mask, bool (R, H, W), is at its own points (R, P, 2), in pixels: (R, P) from 0 to 1.

    The four pixels whose centres are around a point share in its value, as bilinear interpolation has it.
    """
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
    """Which points a loss is computed on.

    Attributes:
        num_points: points of each region or image.
        oversample: how many times as many are drawn to choose from, at least 1.
        importance: share of the points that are chosen for being the most uncertain, in [0, 1].
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
        """Shares (R, num_points, 2) of the regions, see `drawn_where_uncertain`."""
        return drawn_where_uncertain(logits, uncertainty, self.num_points, self.oversample, self.importance, images)


@dataclass(frozen=True)
class Subdivision:
    """How a mask is made finer at inference.

    Attributes:
        steps: doublings of the side of the mask.
        points: points that are decided anew after each doubling, the most uncertain ones.
    """

    steps: int = 3
    points: int = 784


def rows_of(regions: Sequence[Tensor]) -> list[int]:
    """The image of each region, for the regions (R_i, ...) of all images of a batch, one after another."""
    return [image for image, own in enumerate(regions) for _ in range(len(own))]


def drawn_where_uncertain(
    logits: Tensor,
    uncertainty: Callable[[Tensor], Tensor],
    count: int,
    oversample: float,
    importance: float,
    images: Sequence[int] | None = None,
) -> Tensor:
    """Draw points to learn from, more of them where a coarse answer is uncertain (section 3.1 of the paper).

    Args:
        logits: the coarse answer (N, C, H, W).
        uncertainty: of values (N, C, P) at points, (N, P); the larger, the more uncertain.
        count: points for each row.
        oversample: how many times as many are drawn evenly first.
        importance: the share of `count` that are the most uncertain of these; the rest is drawn from the others.
        images: the image of each row, whose random numbers these are in a training step; None: the image of its number.

    Returns:
        Shares (N, count, 2).
    """
    images = range(len(logits)) if images is None else images
    drawn = image_rand(images, 2 * int(count * oversample), logits.device).unflatten(1, (-1, 2))
    order = uncertainty(at_points(logits.float(), drawn)).argsort(dim=1, descending=True)
    uncertain = int(importance * count)
    others = _permutations(images, drawn.shape[1] - uncertain, logits.device)[:, : count - uncertain]
    chosen = torch.cat((order[:, :uncertain], order.gather(1, uncertain + others)), dim=1)
    return drawn.gather(1, chosen[..., None].expand(-1, -1, 2))


def _permutations(images: Sequence[int], count: int, device: torch.device) -> Tensor:
    """The numbers below `count` in random order, int64 (len(images), count)."""
    if first_generator() is None:
        # The points are random already, so one order serves all rows.
        return torch.randperm(count, device=device).expand(len(images), -1)
    return image_rand(images, count, device).argsort(dim=1)


def most_uncertain_cells(uncertainty: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The cells of maps (N, H, W) with the largest values: their places in a row (N, P), and their centres (N, P, 2).

    P is `count`, or the number of cells if that is less; centres are shares.
    """
    height, width = uncertainty.shape[1:]
    places = uncertainty.flatten(1).topk(min(count, height * width), dim=1).indices
    x, y = (places % width + 0.5) / width, (places // width + 0.5) / height
    return places, torch.stack((x, y), dim=-1)
