"""Heads made of FBNet blocks."""

from det_mobile.heads.box import FBNetBoxHead
from det_mobile.heads.keypoint import FBNetKeypointHead
from det_mobile.heads.mask import FBNetMaskHead
from det_mobile.heads.rpn import FBNetRPNHead
from det_mobile.heads.subclass import SUBCLASS, SUBCLASS_PROBABILITIES, SubclassROIHeads

__all__ = [
    "SUBCLASS",
    "SUBCLASS_PROBABILITIES",
    "FBNetBoxHead",
    "FBNetKeypointHead",
    "FBNetMaskHead",
    "FBNetRPNHead",
    "SubclassROIHeads",
]
