"""Random sampling of the candidates of a loss."""

from collections.abc import Sequence

import torch
from torch import Tensor

from det_core.ops.global_batch import image_rand

__all__ = ["sample"]


def sample(labels: Tensor, count: int, positive_fraction: float, images: Sequence[int] | None = None) -> Tensor:
    """Sample at most `count` candidates of each row: labels (..., M) to bool (..., M).

    Labels are 1 positive, 0 negative, -1 neither. At most `count * positive_fraction` (rounded down) of them are
    positive; negatives fill the rest. Drawn by `image_rand` for the `images` of the rows, by
    default the whole batch, without waiting for the device.
    """
    if labels.shape[-1] == 0:
        return torch.zeros_like(labels, dtype=torch.bool)
    rows = labels.shape[:-1].numel()
    draw = image_rand(range(rows) if images is None else images, labels.shape[-1], labels.device).view(labels.shape)
    positive = _largest(draw, labels == 1, int(count * positive_fraction))
    limit = count - positive.sum(dim=-1, keepdim=True)
    return positive | _largest(draw, labels == 0, count, limit)


def _largest(draw: Tensor, eligible: Tensor, most: int, limit: Tensor | None = None) -> Tensor:
    """Mask of the `most` largest eligible draws, of which only the first `limit` (..., 1) are kept."""
    most = min(most, draw.shape[-1])
    values, order = torch.where(eligible, draw, -1.0).topk(most, dim=-1)
    selected = values >= 0
    if limit is not None:
        selected &= torch.arange(most, device=draw.device) < limit
    return torch.zeros_like(eligible).scatter_(-1, order, selected)
