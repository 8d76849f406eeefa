"""Random samples for losses, as `detectron2.modeling.sampling`."""

import torch
from torch import Tensor

__all__ = ["subsample_labels"]


def subsample_labels(
    labels: Tensor, num_samples: int, positive_fraction: float, bg_label: int
) -> tuple[Tensor, Tensor]:
    """Sample indices of foreground and background candidates.

    Args:
        labels: labels (N,): -1 ignore, `bg_label` background, other values foreground.
        num_samples: number of samples, foreground and background.
        positive_fraction: maximum fraction of foreground among the samples, in [0, 1].
        bg_label: label of the background.
    """
    positive = torch.nonzero((labels != -1) & (labels != bg_label)).squeeze(1)
    negative = torch.nonzero(labels == bg_label).squeeze(1)
    expected = min(positive.numel(), int(num_samples * positive_fraction))
    rest = min(negative.numel(), num_samples - expected)
    first = torch.randperm(positive.numel(), device=positive.device)[:expected]
    second = torch.randperm(negative.numel(), device=negative.device)[:rest]
    return positive[first], negative[second]
