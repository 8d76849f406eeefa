"""Two-stage detectors by their published names."""

import functools

from det_core.contracts import Backbone, Preprocess, ProposalGenerator, RegionHead, ROIHeads
from det_core.models.detectors.rcnn import RCNN
from det_core.models.heads.keypoint import KeypointRCNNConvDeconvUpsampleHead
from det_core.models.heads.mask import MaskRCNNConvUpsampleHead
from det_core.models.heads.roi import StandardROIHeads
from det_core.models.heads.rpn import RPN
from det_core.models.parts.preprocess import Normalize
from det_core.recipes import Factory

__all__ = ["keypoint_rcnn", "mask_rcnn"]


def mask_rcnn(
    backbone: Backbone,
    num_classes: int,
    *,
    mask_head: Factory[RegionHead] = Factory(MaskRCNNConvUpsampleHead),
    proposal_generator: Factory[ProposalGenerator] | None = Factory(RPN),
    roi_heads: Factory[ROIHeads] = Factory(StandardROIHeads),
    preprocess: Factory[Preprocess] = Factory(Normalize),
) -> RCNN:
    """Mask R-CNN (He et al., 2017): Faster R-CNN with a `mask_head` in its `roi_heads`."""
    return RCNN(
        backbone,
        proposal_generator,
        _with(roi_heads, mask_head=mask_head),
        num_classes,
        preprocess=preprocess,
    )


def keypoint_rcnn(
    backbone: Backbone,
    num_classes: int = 1,
    *,
    keypoint_head: Factory[RegionHead] = Factory(KeypointRCNNConvDeconvUpsampleHead),
    proposal_generator: Factory[ProposalGenerator] | None = Factory(RPN),
    roi_heads: Factory[ROIHeads] = Factory(StandardROIHeads),
    preprocess: Factory[Preprocess] = Factory(Normalize),
) -> RCNN:
    """Keypoint R-CNN (He et al., 2017, section 5): Faster R-CNN with a `keypoint_head` in its `roi_heads`."""
    return RCNN(
        backbone,
        proposal_generator,
        _with(roi_heads, keypoint_head=keypoint_head),
        num_classes,
        preprocess=preprocess,
    )


def _with(roi_heads: Factory[ROIHeads], **heads: Factory[RegionHead]) -> Factory[ROIHeads]:
    """The second stage with extra RoI heads by name."""
    return Factory(functools.partial(Factory.of(roi_heads), heads=heads))
