"""Heads made of FBNet blocks."""

from det_mobile.heads.box import FBNetBoxHead
from det_mobile.heads.keypoint import FBNetKeypointHead
from det_mobile.heads.mask import FBNetMaskHead
from det_mobile.heads.rpn import FBNetRPNHead

__all__ = ["FBNetBoxHead", "FBNetKeypointHead", "FBNetMaskHead", "FBNetRPNHead"]
