"""Whole models, as `detectron2.modeling.meta_arch`."""

from det_detectron2.layer.modeling.meta_arch.build import META_ARCH_REGISTRY, build_model
from det_detectron2.layer.modeling.meta_arch.rcnn import GeneralizedRCNN, ProposalNetwork

__all__ = ["META_ARCH_REGISTRY", "GeneralizedRCNN", "ProposalNetwork", "build_model"]
