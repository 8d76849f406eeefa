"""Regression of boxes: how predicted offsets are compared with ground-truth boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from det_core.ops.geometry import Geometry
from det_core.ops.losses import BoxLoss, box_loss, regressed

__all__ = ["BoxRegression"]


@dataclass(frozen=True)
class BoxRegression:
    """The loss of predicted boxes.

    Attributes:
        loss: comparison of a predicted with a ground-truth box; rotated boxes by "smooth_l1" alone.
        smooth_l1_beta: difference at which "smooth_l1" turns from quadratic to linear; 0 is the L1 loss.
    """

    loss: BoxLoss = "smooth_l1"
    smooth_l1_beta: float = 0.0

    def box_format(self, where: str, weights: Sequence[float]) -> Geometry:
        """The format of boxes that offsets of these weights lead to; ConfigError if the loss cannot compare them."""
        return regressed(where, weights, self.loss)

    def __call__(self, offsets: Tensor, references: Tensor, boxes: Tensor, weights: Sequence[float]) -> Tensor:
        """The sum over the rows; offsets from `references` and the ground-truth `boxes`, each (N, 4) or (N, 5)."""
        return box_loss(offsets, references, boxes, weights, self.loss, self.smooth_l1_beta)
