"""Whole detectors and their heads."""

from det_core.models.anchors import AnchorGenerator
from det_core.models.augmented import AugmentedDetector
from det_core.models.box_head import FastRCNNConvFCHead, FastRCNNPredictor
from det_core.models.cascade import CascadeROIHeads
from det_core.models.dense import DenseDetector
from det_core.models.families import keypoint_rcnn, mask_rcnn
from det_core.models.fcos import FCOSHead
from det_core.models.federated import FederatedClasses
from det_core.models.keypoint_head import KeypointRCNNConvDeconvUpsampleHead
from det_core.models.mask_head import MaskRCNNConvUpsampleHead
from det_core.models.rcnn import RCNN, ProposalNetwork, faster_rcnn
from det_core.models.res5_heads import Res5ROIHeads
from det_core.models.retinanet import RetinaNetHead
from det_core.models.roi_heads import StandardROIHeads
from det_core.models.rpn import RPN, RPNHead
from det_core.models.semantic import SemanticSegmentor, SemSegFPNHead

__all__ = [
    "RCNN",
    "RPN",
    "AnchorGenerator",
    "AugmentedDetector",
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
