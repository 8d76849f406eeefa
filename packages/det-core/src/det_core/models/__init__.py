"""Complete detectors and their heads."""

from det_core.models.detectors.dense import DenseDetector
from det_core.models.detectors.families import keypoint_rcnn, mask_rcnn
from det_core.models.detectors.rcnn import RCNN, ProposalNetwork, faster_rcnn
from det_core.models.heads.box import FastRCNNConvFCHead, FastRCNNPredictor
from det_core.models.heads.cascade import CascadeROIHeads
from det_core.models.heads.dense import TowerLayers
from det_core.models.heads.fcos import FCOSNMS, FCOSHead, FCOSTower
from det_core.models.heads.federated import FederatedClasses
from det_core.models.heads.keypoint import KeypointRCNNConvDeconvUpsampleHead
from det_core.models.heads.mask import MaskRCNNConvUpsampleHead
from det_core.models.heads.res5 import Res5Blocks, Res5ROIHeads
from det_core.models.heads.retinanet import AnchorMatching, RetinaNetHead
from det_core.models.heads.roi import StandardROIHeads
from det_core.models.heads.rpn import RPN, RPNHead
from det_core.models.parts.anchors import AnchorGenerator
from det_core.models.parts.nms import NMS, DenseNMS, ProposalNMS
from det_core.models.parts.preprocess import Normalize
from det_core.models.parts.regression import BoxRegression
from det_core.models.parts.samplers import AnchorSampler, RegionSampler
from det_core.ops.losses import FocalLoss
from det_core.ops.roi import ROIPooler

__all__ = [
    "FCOSNMS",
    "NMS",
    "RCNN",
    "RPN",
    "AnchorGenerator",
    "AnchorMatching",
    "AnchorSampler",
    "BoxRegression",
    "CascadeROIHeads",
    "DenseDetector",
    "DenseNMS",
    "FCOSHead",
    "FCOSTower",
    "FastRCNNConvFCHead",
    "FastRCNNPredictor",
    "FederatedClasses",
    "FocalLoss",
    "KeypointRCNNConvDeconvUpsampleHead",
    "MaskRCNNConvUpsampleHead",
    "Normalize",
    "ProposalNMS",
    "ProposalNetwork",
    "ROIPooler",
    "RPNHead",
    "RegionSampler",
    "Res5Blocks",
    "Res5ROIHeads",
    "RetinaNetHead",
    "StandardROIHeads",
    "TowerLayers",
    "faster_rcnn",
    "keypoint_rcnn",
    "mask_rcnn",
]
