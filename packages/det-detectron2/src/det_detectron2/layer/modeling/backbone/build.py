"""Backbones by name, as `detectron2.modeling.backbone.build`."""

from typing import Any

from det_detectron2.layer.layers import ShapeSpec
from det_detectron2.layer.modeling.backbone.backbone import Backbone
from det_detectron2.layer.utils.registry import Registry

__all__ = ["BACKBONE_REGISTRY", "build_backbone"]

BACKBONE_REGISTRY = Registry("BACKBONE")
"""Functions or classes that make a `Backbone` of `(cfg, input_shape)`."""


def build_backbone(cfg: Any, input_shape: ShapeSpec | None = None) -> Backbone:
    """The backbone that MODEL.BACKBONE.NAME names; of images with as many channels as there are pixel means."""
    shape = ShapeSpec(channels=len(cfg.MODEL.PIXEL_MEAN)) if input_shape is None else input_shape
    backbone = BACKBONE_REGISTRY.get(cfg.MODEL.BACKBONE.NAME)(cfg, shape)
    assert isinstance(backbone, Backbone), f"{cfg.MODEL.BACKBONE.NAME} gives a {type(backbone)}, not a Backbone"
    return backbone
