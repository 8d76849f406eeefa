"""Pixel losses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from det_core.errors import ConfigError
from det_core.ops.global_batch import current_group, normalizer
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F

__all__ = ["PixelLoss", "pad_stack"]

Kind = Literal["cross_entropy", "hard_pixel_mining"]


def pad_stack(maps: Sequence[Tensor], like: Tensor, fill: float) -> Tensor:
    """Maps (..., H_i, W_i) of one kind as one tensor (B, ..., H, W), padded right and bottom to the size of `like`."""
    first = maps[0]
    stacked = first.new_full((len(maps), *first.shape[:-2], *like.shape[-2:]), fill)
    for row, single in zip(stacked, maps, strict=True):
        row[..., : single.shape[-2], : single.shape[-1]] = single
    return stacked


@dataclass(frozen=True)
class PixelLoss:
    """Cross entropy of all pixels, or of the hardest (Yang et al., "DeeperLab", 2019).

    Attributes:
        kind: "cross_entropy" for the mean over the labelled pixels; "hard_pixel_mining" for the mean over the fraction
            `hardest` of all pixels with the largest losses, where ignored pixels have a loss of 0.
        hardest: fraction of pixels, in (0, 1]; 1 for all.
        ignore: label of pixels without a loss.
    """

    kind: Kind = "hard_pixel_mining"
    hardest: float = 0.2
    ignore: int = 255

    def __post_init__(self) -> None:
        if not 0 < self.hardest <= 1:
            raise ConfigError("PixelLoss.hardest", "must lie in (0, 1]", f"got {self.hardest}")

    def __call__(self, logits: Tensor, targets: Sequence[Tensor], weights: Sequence[Tensor] | None = None) -> Tensor:
        """The loss, a scalar.

        Args:
            logits: float32 (B, C, H, W) of the padded batch.
            targets: classes of each image, int64 (H_i, W_i).
            weights: weight of the loss of each pixel, float32 (H_i, W_i).
        """
        ground_truth = pad_stack(targets, logits, self.ignore)
        losses = F.cross_entropy(logits, ground_truth, ignore_index=self.ignore, reduction="none")
        if weights is not None:
            losses = losses * pad_stack(weights, logits, 0.0)
        if self.kind == "cross_entropy":
            return losses.sum() / normalizer((ground_truth != self.ignore).sum(), losses)
        if self.hardest == 1:
            return losses.sum() / normalizer(losses.numel(), losses)
        return _mean_of_largest(losses.flatten(), self.hardest)


def _mean_of_largest(values: Tensor, share: float) -> Tensor:
    """Mean of the largest values (N,) of the global batch, in this proportion; at least one value."""
    parts = _gather(values)
    whole = torch.cat(parts)
    count = max(1, int(share * len(whole)))
    if len(parts) == 1:
        return torch.topk(values, count).values.mean()
    least = torch.topk(whole, count).values[-1]
    # Values equal to the smallest of them share its weight.
    ties = (count - (whole > least).sum()) / (whole == least).sum()
    total = values[values > least].sum() + values[values == least].sum() * ties
    return total * len(parts) / count


def _gather(values: Tensor) -> list[Tensor]:
    """The values (N_i,) of each process of the global batch, without gradient; all processes must call this."""
    group = current_group()
    if group is None or (count := dist.get_world_size(group)) == 1:
        return [values.detach()]
    sizes = [torch.zeros(1, dtype=torch.int64, device=values.device) for _ in range(count)]
    dist.all_gather(sizes, sizes[0].new_tensor([len(values)]), group=group)
    padded = values.detach().new_zeros(int(max(sizes)))
    padded[: len(values)] = values.detach()
    gathered = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(gathered, padded, group=group)
    return [each[: int(size)] for each, size in zip(gathered, sizes, strict=True)]
