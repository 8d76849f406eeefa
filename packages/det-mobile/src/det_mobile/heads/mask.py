"""The mask branch of Mask R-CNN, of FBNet blocks."""

from collections.abc import Mapping, Sequence
from typing import cast

from det_core.contracts import Pooler
from det_core.models.heads.mask import mask_loss, with_masks
from det_core.models.parts.levels import select_levels
from det_core.ops.roi import ROIPooler
from det_core.recipes import Factory
from det_core.structures import Detections, Targets
from torch import Tensor, nn

from det_mobile.fbnet.arch import FBNetBlocks

__all__ = ["FBNetMaskHead"]


class FBNetMaskHead(nn.Module):
    """Blocks, some of which upsample, then a 1 x 1 convolution to one mask per class.

    Args:
        channels: level -> number of channels, from the backbone.
        strides: level -> stride in pixels, from the backbone.
        num_classes: number of foreground classes, without background.
        in_features: names of the levels that regions are pooled from; by default all up to stride 32.
        pooler: factory of the RoI pooler, called with the `strides` of these levels.
        blocks: the architecture; its part "mask" is built, and determines the size of masks.
        loss_weight: factor on the mask loss in the sum.
    """

    contract = "RegionHead"

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        in_features: Sequence[str] | None = None,
        pooler: Factory[Pooler] = Factory(ROIPooler, resolution=14),
        blocks: FBNetBlocks = FBNetBlocks(),  # noqa: B008 (frozen)
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.in_features = select_levels("FBNetMaskHead", channels, in_features, strides)
        self.pooler = cast(nn.Module, Factory.of(pooler)(strides=[strides[name] for name in self.in_features]))
        self.loss_weight = loss_weight
        self.feature_extractor, widths, _ = blocks.build("mask", channels[self.in_features[0]])
        logits = nn.Conv2d(widths[-1], num_classes, 1)
        nn.init.kaiming_normal_(logits.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(logits.bias)  # type: ignore[arg-type]
        self.predictor = nn.Module()
        self.predictor.mask_fcn_logits = logits

    def forward(self, pooled: Tensor) -> Tensor:
        """(P, C, R, R) to logits (P, num_classes, S, S)."""
        logits: Tensor = self.predictor.get_submodule("mask_fcn_logits")(self.feature_extractor(pooled))
        return logits

    def losses(
        self, features: Mapping[str, Tensor], proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """{"loss_mask"}: mean binary cross-entropy over all cells of the masks of the ground-truth classes."""
        logits = self(self._pool(features, proposals))
        return {"loss_mask": mask_loss(logits, proposals, targets) * self.loss_weight}

    def predict(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections with `masks`: float32 (N, S, S), the probabilities within each box."""
        return with_masks(detections, self(self._pool(features, [each.boxes for each in detections])))

    def _pool(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        pooled: Tensor = self.pooler([features[name] for name in self.in_features], boxes)
        return pooled
