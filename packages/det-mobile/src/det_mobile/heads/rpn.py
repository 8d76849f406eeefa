"""The head of a region proposal network, of FBNet blocks."""

from collections.abc import Sequence

from det_core.models.heads.rpn import RPNOutputs
from torch import Tensor, nn

from det_mobile.fbnet.arch import FBNetBlocks

__all__ = ["FBNetRPNHead"]


class FBNetRPNHead(nn.Module):
    """Blocks, then objectness and box offsets for the anchors of every feature pixel; one head for all levels.

    Args:
        in_channels: number of channels of every level.
        anchors: number of anchors per feature pixel.
        blocks: the architecture; its part "rpn" is built.
        box_dim: number of offsets per anchor: 4, or 5 for rotated anchors.
    """

    contract = "RPNHead"

    def __init__(
        self,
        in_channels: int,
        anchors: int,
        *,
        blocks: FBNetBlocks = FBNetBlocks(),  # noqa: B008 (frozen)
        box_dim: int = 4,
    ) -> None:
        super().__init__()
        self.rpn_feature, channels, _ = blocks.build("rpn", in_channels)
        self.rpn_regressor, self.anchors, self.box_dim = nn.Module(), anchors, box_dim
        self.rpn_regressor.cls_logits = nn.Conv2d(channels[-1], anchors, 1)
        self.rpn_regressor.bbox_pred = nn.Conv2d(channels[-1], anchors * box_dim, 1)
        for module in self.rpn_regressor.children():
            nn.init.normal_(module.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> RPNOutputs:
        """Levels (B, C, H, W) to one logit and `box_dim` offsets per anchor, by row, then column, then anchor."""
        logits, offsets = [], []
        classify, regress = (self.rpn_regressor.get_submodule(name) for name in ("cls_logits", "bbox_pred"))
        for level in features:
            x = self.rpn_feature(level)
            logits.append(classify(x).permute(0, 2, 3, 1).flatten(1))
            offsets.append(regress(x).permute(0, 2, 3, 1).reshape(len(x), -1, self.box_dim))
        return RPNOutputs(logits, offsets)
