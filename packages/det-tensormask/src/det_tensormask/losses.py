"""The focal loss of dense detectors whose masks are large: a steeper cross-entropy."""

from torch import Tensor
from torch.nn import functional as F

__all__ = ["focal_loss_star"]


def focal_loss_star(logits: Tensor, truth: Tensor, alpha: float, gamma: float) -> Tensor:
    """FL* (Lin et al., "Focal loss for dense object detection", 2017, appendix) of logits, summed; in float32.

    It is the cross-entropy of `gamma` times the logit, divided by `gamma`: what is classified well counts less, as in
    the focal loss. `truth` in {0, 1} has the shape of `logits`; `alpha` weighs truths of 1, and 1 - `alpha` those of 0.
    """
    loss = F.binary_cross_entropy_with_logits(gamma * logits.float(), truth.float(), reduction="none") / gamma
    return (loss * (alpha * truth + (1 - alpha) * (1 - truth))).sum()
