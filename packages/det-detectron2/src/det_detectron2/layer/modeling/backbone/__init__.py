"""Backbones, as `detectron2.modeling.backbone`."""

from det_detectron2.layer.modeling.backbone.backbone import Backbone
from det_detectron2.layer.modeling.backbone.build import BACKBONE_REGISTRY, build_backbone
from det_detectron2.layer.modeling.backbone.fpn import FPN, build_resnet_fpn_backbone
from det_detectron2.layer.modeling.backbone.resnet import (
    BasicBlock,
    BasicStem,
    BottleneckBlock,
    DeformBottleneckBlock,
    ResNet,
    ResNetBlockBase,
    build_resnet_backbone,
    make_stage,
)

__all__ = [
    "BACKBONE_REGISTRY",
    "FPN",
    "Backbone",
    "BasicBlock",
    "BasicStem",
    "BottleneckBlock",
    "DeformBottleneckBlock",
    "ResNet",
    "ResNetBlockBase",
    "build_backbone",
    "build_resnet_backbone",
    "build_resnet_fpn_backbone",
    "make_stage",
]
