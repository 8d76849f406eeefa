"""Two-stage detectors under the names they were published by: one call each."""

import functools
from typing import Literal

from det_core.contracts import Backbone, ProposalGenerator, RegionHead, ROIHeads
from det_core.models.detectors.rcnn import IMAGENET_MEAN, IMAGENET_STD, RCNN, Colour
from det_core.models.heads.keypoint import KeypointRCNNConvDeconvUpsampleHead
from det_core.models.heads.mask import MaskRCNNConvUpsampleHead
from det_core.models.heads.roi import StandardROIHeads
from det_core.models.heads.rpn import RPN
from det_core.recipes import Factory

__all__ = ["keypoint_rcnn", "mask_rcnn"]


def mask_rcnn(
    backbone: Backbone,
    num_classes: int,
    *,
    mask_head: Factory[RegionHead] = Factory(MaskRCNNConvUpsampleHead),
    proposal_generator: Factory[ProposalGenerator] | None = Factory(RPN),
    roi_heads: Factory[ROIHeads] = Factory(StandardROIHeads),
    pixel_mean: Colour = IMAGENET_MEAN,
    pixel_std: Colour = IMAGENET_STD,
    channel_order: Literal["RGB", "BGR"] = "RGB",
) -> RCNN:
    """Mask R-CNN (He et al., 2017): Faster R-CNN, to whose `roi_heads` a `mask_head` is given."""
    return RCNN(
        backbone,
        proposal_generator,
        _with(roi_heads, mask_head=mask_head),
        num_classes,
        pixel_mean=pixel_mean,
        pixel_std=pixel_std,
        channel_order=channel_order,
    )


def keypoint_rcnn(
    backbone: Backbone,
    num_classes: int = 1,
    *,
    keypoint_head: Factory[RegionHead] = Factory(KeypointRCNNConvDeconvUpsampleHead),
    proposal_generator: Factory[ProposalGenerator] | None = Factory(RPN),
    roi_heads: Factory[ROIHeads] = Factory(StandardROIHeads),
    pixel_mean: Colour = IMAGENET_MEAN,
    pixel_std: Colour = IMAGENET_STD,
    channel_order: Literal["RGB", "BGR"] = "RGB",
) -> RCNN:
    """Keypoint R-CNN (He et al., 2017, section 5): Faster R-CNN, to whose `roi_heads` a `keypoint_head` is given."""
    return RCNN(
        backbone,
        proposal_generator,
        _with(roi_heads, keypoint_head=keypoint_head),
        num_classes,
        pixel_mean=pixel_mean,
        pixel_std=pixel_std,
        channel_order=channel_order,
    )


def _with(roi_heads: Factory[ROIHeads], **heads: Factory[RegionHead]) -> Factory[ROIHeads]:
    """The second stage with further heads, each under its name."""
    return Factory(functools.partial(Factory.of(roi_heads), heads=heads))
