"""FBNetV3: block tables, blocks and trunks."""

from det_mobile.fbnet.arch import FBNetBlocks
from det_mobile.fbnet.trunk import FBNet, FBNetC4

__all__ = ["FBNet", "FBNetBlocks", "FBNetC4"]
