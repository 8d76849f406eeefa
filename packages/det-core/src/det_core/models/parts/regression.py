"""Box regression loss."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from det_core.ops.geometry import Geometry
from det_core.ops.losses import BoxLoss, box_format_for, box_loss

__all__ = ["BoxRegression"]


@dataclass(frozen=True)
class BoxRegression:
    """Loss of predicted boxes against ground-truth boxes.

    Attributes:
        loss: loss function; rotated boxes support "smooth_l1" only.
        smooth_l1_beta: difference at which "smooth_l1" changes from quadratic to linear; 0 for the L1 loss.
    """

    loss: BoxLoss = "smooth_l1"
    smooth_l1_beta: float = 0.0

    def box_format(self, where: str, weights: Sequence[float]) -> Geometry:
        """Box format for offsets with these weights; ConfigError if the loss does not support it."""
        return box_format_for(where, weights, self.loss)

    def __call__(self, offsets: Tensor, references: Tensor, boxes: Tensor, weights: Sequence[float]) -> Tensor:
        """Sum over the rows of offsets from `references` and the ground-truth `boxes`, each (N, 4) or (N, 5)."""
        return box_loss(offsets, references, boxes, weights, self.loss, self.smooth_l1_beta)
