"""The focal loss of dense detectors with large masks: a steeper cross-entropy."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

__all__ = ["FocalLossStar", "MaskLoss", "focal_loss_star"]


@dataclass(frozen=True)
class FocalLossStar:
    """Settings of `focal_loss_star`.

    Attributes:
        alpha: weight of the positive class, in [0, 1].
        gamma: steepness of the loss, above 0.
    """

    alpha: float = 0.3
    gamma: float = 3.0

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Sum of `focal_loss_star` over logits and `targets` in {0, 1} of the same shape."""
        return focal_loss_star(logits, targets, self.alpha, self.gamma)


@dataclass(frozen=True)
class MaskLoss:
    """Binary cross-entropy of mask parts.

    Attributes:
        weight: factor on the loss in the sum.
        positive_weight: factor on the loss of foreground parts.
    """

    weight: float = 2.0
    positive_weight: float = 1.5

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Sum over all parts of logits against `targets` in {0, 1}, both (M, S, S)."""
        positive = logits.new_tensor(self.positive_weight)
        return self.weight * F.binary_cross_entropy_with_logits(logits, targets, reduction="sum", pos_weight=positive)


def focal_loss_star(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """FL* (Lin et al., "Focal loss for dense object detection", 2017, appendix), summed, in float32.

    The cross-entropy of `gamma` times the logit, divided by `gamma`: well-classified examples weigh less, as in the
    focal loss. `targets` in {0, 1} has the shape of `logits`; `alpha` weighs positives, 1 - `alpha` negatives.
    """
    loss = F.binary_cross_entropy_with_logits(gamma * logits.float(), targets.float(), reduction="none") / gamma
    return (loss * (alpha * targets + (1 - alpha) * (1 - targets))).sum()
