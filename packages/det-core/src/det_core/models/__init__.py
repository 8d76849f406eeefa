"""Whole detectors and their heads."""

from det_core.models.detectors.dense import DenseDetector
from det_core.models.detectors.families import keypoint_rcnn, mask_rcnn
from det_core.models.detectors.rcnn import RCNN, ProposalNetwork, faster_rcnn
from det_core.models.detectors.semantic import SemanticSegmentor, SemSegFPNHead
from det_core.models.heads.box import FastRCNNConvFCHead, FastRCNNPredictor
from det_core.models.heads.cascade import CascadeROIHeads
from det_core.models.heads.fcos import FCOSHead
from det_core.models.heads.federated import FederatedClasses
from det_core.models.heads.keypoint import KeypointRCNNConvDeconvUpsampleHead
from det_core.models.heads.mask import MaskRCNNConvUpsampleHead
from det_core.models.heads.res5 import Res5ROIHeads
from det_core.models.heads.retinanet import RetinaNetHead
from det_core.models.heads.roi import StandardROIHeads
from det_core.models.heads.rpn import RPN, RPNHead
from det_core.models.parts.anchors import AnchorGenerator

__all__ = [
    "RCNN",
    "RPN",
    "AnchorGenerator",
    "CascadeROIHeads",
    "DenseDetector",
    "FCOSHead",
    "FastRCNNConvFCHead",
    "FastRCNNPredictor",
    "FederatedClasses",
    "KeypointRCNNConvDeconvUpsampleHead",
    "MaskRCNNConvUpsampleHead",
    "ProposalNetwork",
    "RPNHead",
    "Res5ROIHeads",
    "RetinaNetHead",
    "SemSegFPNHead",
    "SemanticSegmentor",
    "StandardROIHeads",
    "faster_rcnn",
    "keypoint_rcnn",
    "mask_rcnn",
]
