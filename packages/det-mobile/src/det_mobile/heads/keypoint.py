"""The keypoint branch of Mask R-CNN, of FBNet blocks."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from det_core.contracts import Pooler
from det_core.models.heads.keypoint import KeypointRCNNConvDeconvUpsampleHead
from det_core.ops.roi import ROIPooler
from det_core.recipes import Factory
from torch import Tensor, nn
from torch.nn import functional as F

from det_mobile.fbnet.arch import FBNetBlocks
from det_mobile.fbnet.blocks import Inverted, InvertedResidual
from det_mobile.fbnet.layers import enlarge

__all__ = ["FBNetKeypointHead", "Predictor"]

Predictor = Literal["irf", "deconv", "deconv_upsample", "conv_upsample"]
"""What makes heatmaps of twice the size: an inverted residual without norms (published), a transposed convolution,
this one with an interpolation to four times the size, or a 3 x 3 convolution of the enlarged map."""


class FBNetKeypointHead(KeypointRCNNConvDeconvUpsampleHead):
    """Blocks, some of which upsample, then a heatmap for each keypoint.

    Args:
        channels: level -> number of channels, from the backbone.
        strides: level -> stride in pixels, from the backbone.
        in_features: names of the levels that regions are pooled from; by default all up to stride 32.
        num_keypoints: number of keypoints of an object; 17 in COCO.
        pooler: factory of the RoI pooler, called with the `strides` of these levels.
        blocks: the architecture; its part "kpts" is built.
        predictor: layers from features to heatmaps.
        loss_weight: factor on the keypoint loss in the sum.
        normalize_by: normalization of the loss, as of the keypoint head of core.
        max_foreground: maximum number of foreground regions per image, as of the keypoint head of core.
    """

    contract = "RegionHead"

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        *,
        in_features: Sequence[str] | None = None,
        num_keypoints: int = 17,
        pooler: Factory[Pooler] = Factory(ROIPooler, resolution=6),
        blocks: FBNetBlocks = FBNetBlocks("FBNetV3_A_dsmask"),  # noqa: B008 (frozen)
        predictor: Predictor = "irf",
        loss_weight: float = 1.0,
        normalize_by: Literal["visible", "capacity"] = "visible",
        max_foreground: float = 128,
    ) -> None:
        super().__init__(
            channels,
            strides,
            in_features=in_features,
            num_keypoints=num_keypoints,
            pooler=pooler,
            conv_dims=(),
            loss_weight=loss_weight,
            normalize_by=normalize_by,
            max_foreground=max_foreground,
        )
        del self.score_lowres
        self.kind = predictor
        self.feature_extractor, widths, _ = blocks.build("kpts", channels[self.in_features[0]])
        self.predictor = nn.Module()
        self.predictor.kps_score_lowres = _predictor(predictor, widths[-1], num_keypoints)

    def forward(self, pooled: Tensor) -> Tensor:
        """(P, C, R, R) to logits (P, num_keypoints, S, S)."""
        x = self.feature_extractor(pooled)
        if self.kind == "conv_upsample":
            x = enlarge(x, 2)
        x = self.predictor.get_submodule("kps_score_lowres")(x)
        if self.kind != "deconv_upsample":
            return x
        if not torch.compiler.is_exporting() and not len(x):
            return enlarge(x, 2)
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _predictor(kind: Predictor, channels: int, keypoints: int) -> nn.Module:
    if kind == "irf":
        return InvertedResidual(channels, keypoints, -2, Inverted(expansion=3, dw_skip_bnrelu=True), norm="")
    if kind == "conv_upsample":
        return nn.Conv2d(channels, keypoints, 3, padding=1)
    deconv = nn.ConvTranspose2d(channels, keypoints, 4, stride=2, padding=1)
    nn.init.kaiming_normal_(deconv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(deconv.bias)  # type: ignore[arg-type]
    return deconv
