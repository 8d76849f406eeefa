"""Random choice of the candidates that a loss looks at."""

import torch
from torch import Tensor

__all__ = ["sample"]


def sample(labels: Tensor, count: int, positive_fraction: float) -> Tensor:
    """Choose at most `count` candidates of each row: labels (..., M) to bool (..., M).

    Labels are 1 positive, 0 negative, -1 neither. At most `count * positive_fraction` (rounded down) of them are
    positive; negatives fill the rest. Drawn from torch's global generator, without waiting for the device.
    """
    if labels.shape[-1] == 0:
        return torch.zeros_like(labels, dtype=torch.bool)
    draw = torch.rand(labels.shape, device=labels.device)
    positive = _largest(draw, labels == 1, int(count * positive_fraction))
    wanted = count - positive.sum(dim=-1, keepdim=True)
    return positive | _largest(draw, labels == 0, count, wanted)


def _largest(draw: Tensor, eligible: Tensor, most: int, wanted: Tensor | None = None) -> Tensor:
    """A mask of the `most` largest draws that are eligible, of which only the first `wanted` (..., 1) count."""
    most = min(most, draw.shape[-1])
    values, order = torch.where(eligible, draw, -1.0).topk(most, dim=-1)
    chosen = values >= 0
    if wanted is not None:
        chosen &= torch.arange(most, device=draw.device) < wanted
    return torch.zeros_like(eligible).scatter_(-1, order, chosen)
