"""Proposals of rotated boxes, as `detectron2.modeling.proposal_generator.rrpn`."""

from typing import Any

from torch import Tensor

from det_detectron2.layer.modeling.box_regression import Box2BoxTransformRotated
from det_detectron2.layer.modeling.proposal_generator.build import PROPOSAL_GENERATOR_REGISTRY
from det_detectron2.layer.modeling.proposal_generator.proposal_utils import find_top_rrpn_proposals
from det_detectron2.layer.modeling.proposal_generator.rpn import RPN
from det_detectron2.layer.structures import Instances, pairwise_iou_rotated

__all__ = ["RRPN"]


@PROPOSAL_GENERATOR_REGISTRY.register()
class RRPN(RPN):
    """`RPN` with rotated anchors."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.anchor_boundary_thresh >= 0:
            raise NotImplementedError("anchor_boundary_thresh is a legacy option not implemented for RRPN.")

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Any) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        transform = Box2BoxTransformRotated(weights=cfg.MODEL.RPN.BBOX_REG_WEIGHTS)
        return {**super().from_config(cfg, input_shape), "box2box_transform": transform}

    def _overlaps(self, objects: Any, anchors: Any) -> Tensor:
        return pairwise_iou_rotated(objects, anchors)

    def _find_top(self, *args: Any) -> list[Instances]:
        return find_top_rrpn_proposals(*args)
