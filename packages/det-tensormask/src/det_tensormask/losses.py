"""The focal loss of dense detectors whose masks are large: a steeper cross-entropy."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

__all__ = ["FocalLossStar", "MaskLoss", "focal_loss_star"]


@dataclass(frozen=True)
class FocalLossStar:
    """The settings of `focal_loss_star`.

    Attributes:
        alpha: weight of the positive class, in [0, 1].
        gamma: steepness, above 0.
    """

    alpha: float = 0.3
    gamma: float = 3.0

    def __call__(self, logits: Tensor, truth: Tensor) -> Tensor:
        """`focal_loss_star` of logits against `truth` in {0, 1} of the same shape, summed."""
        return focal_loss_star(logits, truth, self.alpha, self.gamma)


@dataclass(frozen=True)
class MaskLoss:
    """Binary cross-entropy of the parts of masks.

    Attributes:
        weight: weight of the loss.
        positive_weight: weight of parts that belong to the object.
    """

    weight: float = 2.0
    positive_weight: float = 1.5

    def __call__(self, logits: Tensor, truth: Tensor) -> Tensor:
        """The sum over all parts, of logits against `truth` in {0, 1}, both (M, S, S)."""
        positive = logits.new_tensor(self.positive_weight)
        return self.weight * F.binary_cross_entropy_with_logits(logits, truth, reduction="sum", pos_weight=positive)


def focal_loss_star(logits: Tensor, truth: Tensor, alpha: float, gamma: float) -> Tensor:
    """FL* (Lin et al., "Focal loss for dense object detection", 2017, appendix) of logits, summed; in float32.

    It is the cross-entropy of `gamma` times the logit, divided by `gamma`: what is classified well counts less, as in
    the focal loss. `truth` in {0, 1} has the shape of `logits`; `alpha` weighs truths of 1, and 1 - `alpha` those of 0.
    """
    loss = F.binary_cross_entropy_with_logits(gamma * logits.float(), truth.float(), reduction="none") / gamma
    return (loss * (alpha * truth + (1 - alpha) * (1 - truth))).sum()
