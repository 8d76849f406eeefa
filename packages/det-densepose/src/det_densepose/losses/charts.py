"""Losses of chart models: which part a point is on, and where on its chart (Guler et al., "DensePose", 2018).

With confidences, coordinates are learned by the negative log-likelihood of a Gaussian whose spread is predicted too
(Neverova et al., "Correlated uncertainty for learning dense correspondences from noisy labels", 2019).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from det_densepose.losses.coarse import CoarseLoss, CoarseLossFromParts
from det_densepose.losses.points import Cells, cells_at_points
from det_densepose.losses.regions import Regions

__all__ = ["ChartWeights", "DensePoseChartLoss", "iid_iso_loss", "indep_aniso_loss"]


@dataclass(frozen=True)
class ChartWeights:
    """Weights of the losses of a chart model.

    Args:
        coarse: weight of the coarse segmentation loss, "loss_densepose_S".
        part: weight of the part classification loss, "loss_densepose_I".
        coordinates: weight of the losses of u and v, "loss_densepose_U" and "loss_densepose_V", or with confidences
            "loss_densepose_UV"; small, since these are sums over points, not means.
    """

    coarse: float = 5.0
    part: float = 1.0
    coordinates: float = 0.01


class DensePoseChartLoss:
    """The losses of a chart model; the coordinate loss is chosen by the fields of the predictor.

    If no point with a part lies in its region, all losses are 0, as published.

    Args:
        weights: weights of the losses; null for the published ones.
        coarse: loss of the coarse segmentation; null for `CoarseLossFromParts`.
        epsilon: minimum predicted variance of a coordinate.
    """

    def __init__(
        self, weights: ChartWeights | None = None, coarse: CoarseLoss | None = None, epsilon: float = 0.01
    ) -> None:
        self.weights, self.coarse, self.epsilon = weights or ChartWeights(), coarse or CoarseLossFromParts(), epsilon
        self.uses_masks = self.coarse.uses_masks

    def __call__(
        self, outputs: Mapping[str, Tensor], regions: Regions, embedder: nn.Module | None = None
    ) -> dict[str, Tensor]:
        """{"loss_densepose_U", "_V" (or "_UV"), "_I", "_S"}; outputs are the predictor's fields (R, C, Z, Z)."""
        part = regions.surface[..., 0].flatten().long()
        cells = cells_at_points(regions.boxes, regions.points, outputs["u"].shape[-1])
        valid = cells.valid & (part >= 0)
        inside = valid & (part > 0)
        if not inside.any():
            return {f"loss_densepose_{name}": _zero(outputs, fields) for name, fields in self._fields(outputs).items()}
        uv = regions.surface[..., 1:3].flatten(0, 1)[inside]
        losses = self._coordinates(outputs, cells.select(inside), part[inside], uv)
        fine = cells.select(valid).read(outputs["fine_segm"].float())
        losses["I"] = F.cross_entropy(fine, part[valid]) * self.weights.part
        annotated = (regions.surface[..., 0] >= 0).any(1)
        losses["S"] = self.coarse(outputs["coarse_segm"], regions, annotated) * self.weights.coarse
        return {f"loss_densepose_{name}": value for name, value in losses.items()}

    def _coordinates(self, outputs: Mapping[str, Tensor], cells: Cells, part: Tensor, uv: Tensor) -> dict[str, Tensor]:
        """The losses of u and v at K points: their parts, int64 (K,), and true coordinates, (K, 2)."""
        weight = self.weights.coordinates
        u, v = (cells.read(outputs[name].float(), part) for name in ("u", "v"))
        if "sigma_2" not in outputs:
            pairs = (("U", u, uv[:, 0]), ("V", v, uv[:, 1]))
            return {name: F.smooth_l1_loss(ours, true, reduction="sum") * weight for name, ours, true in pairs}
        delta = torch.stack((u, v), 1) - uv
        variance = F.softplus(cells.read(outputs["sigma_2"].float(), part)) + self.epsilon
        if "kappa_u" not in outputs:
            return {"UV": iid_iso_loss(delta, variance).sum() * weight}
        kappa = torch.stack([cells.read(outputs[name].float(), part) for name in ("kappa_u", "kappa_v")], 1)
        return {"UV": indep_aniso_loss(delta, variance, kappa).sum() * weight}

    def _fields(self, outputs: Mapping[str, Tensor]) -> dict[str, tuple[str, ...]]:
        """Which fields each loss is made of."""
        common: dict[str, tuple[str, ...]] = {"I": ("fine_segm",), "S": ("coarse_segm",)}
        if "sigma_2" not in outputs:
            return {"U": ("u",), "V": ("v",), **common}
        spread = tuple(name for name in ("sigma_2", "kappa_u", "kappa_v") if name in outputs)
        return {"UV": ("u", "v", *spread), **common}


def iid_iso_loss(delta: Tensor, variance: Tensor) -> Tensor:
    """Negative log-likelihood of residuals (K, 2) as published, both coordinates with the same variance (K,): (K,).

    The constant is half of what a density in two dimensions has; it moves no gradient.
    """
    return 0.5 * (math.log(2 * math.pi) + 2 * variance.log() + delta.square().sum(1) / variance)


def indep_aniso_loss(delta: Tensor, variance: Tensor, kappa: Tensor) -> Tensor:
    """Negative log-likelihood of residuals (K, 2) as published, whose covariance is variance * I + kappa kappa^T.

    Variance (K,), kappa (K, 2), result (K,). The constant is as in `iid_iso_loss`.
    """
    determinant = variance * (variance + kappa.square().sum(1))
    along = (delta * kappa).sum(1).square() / determinant
    return 0.5 * (math.log(2 * math.pi) + determinant.log() + delta.square().sum(1) / variance - along)


def _zero(outputs: Mapping[str, Tensor], fields: tuple[str, ...]) -> Tensor:
    """0 that reaches every logit of some fields."""
    return torch.stack([outputs[name].float().sum() for name in fields]).sum() * 0
