"""The box head of a second stage, of FBNet blocks."""

from torch import Tensor, nn

from det_mobile.fbnet.arch import FBNetBlocks

__all__ = ["FBNetBoxHead"]


class FBNetBoxHead(nn.Module):
    """Blocks, then global average pooling of each region.

    Args:
        in_channels: number of channels of the pooled features.
        blocks: the architecture; its part "bbox" is built.

    Attributes:
        out_dim: number of features per region.
    """

    contract = "BoxHead"

    def __init__(self, in_channels: int, *, blocks: FBNetBlocks = FBNetBlocks()) -> None:  # noqa: B008 (frozen)
        super().__init__()
        self.roi_box_conv, channels, _ = blocks.build("bbox", in_channels)
        self.out_dim = channels[-1]

    def forward(self, pooled: Tensor) -> Tensor:
        """(P, in_channels, R, R) to (P, out_dim)."""
        return self.roi_box_conv(pooled).mean((2, 3))
