"""The best proposals, as `detectron2.modeling.proposal_generator.proposal_utils`."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from det_detectron2.layer.layers import batched_nms, batched_nms_rotated, cat
from det_detectron2.layer.structures import Boxes, Instances, RotatedBoxes

__all__ = ["add_ground_truth_to_proposals", "find_top_rpn_proposals", "find_top_rrpn_proposals"]


def find_top_rpn_proposals(
    proposals: Sequence[Tensor],
    pred_objectness_logits: Sequence[Tensor],
    image_sizes: Sequence[tuple[int, int]],
    nms_thresh: float,
    pre_nms_topk: int,
    post_nms_topk: int,
    min_box_size: float,
    training: bool,
) -> list[Instances]:
    """Highest-scoring boxes of each level, clipped, without small ones, after NMS per level, by descending score.

    Args:
        proposals: proposal boxes of each level, (N, anchors, 4).
        pred_objectness_logits: objectness logits of each level, (N, anchors).
        image_sizes: (height, width) of each image.
        nms_thresh: IoU threshold of the NMS within each level.
        pre_nms_topk: number of highest-scoring boxes per level before NMS.
        post_nms_topk: number of highest-scoring boxes per image after NMS.
        min_box_size: minimum width and height of proposals in pixels, exclusive.
        training: training mode, in which non-finite values raise an error.

    Returns:
        Of each image `proposal_boxes` and `objectness_logits`.
    """
    return _best(
        (Boxes, batched_nms),
        proposals,
        pred_objectness_logits,
        image_sizes,
        (nms_thresh, pre_nms_topk, post_nms_topk, min_box_size, training),
    )


def find_top_rrpn_proposals(
    proposals: Sequence[Tensor],
    pred_objectness_logits: Sequence[Tensor],
    image_sizes: Sequence[tuple[int, int]],
    nms_thresh: float,
    pre_nms_topk: int,
    post_nms_topk: int,
    min_box_size: float,
    training: bool,
) -> list[Instances]:
    """`find_top_rpn_proposals` for rotated boxes, (N, anchors, 5)."""
    return _best(
        (RotatedBoxes, batched_nms_rotated),
        proposals,
        pred_objectness_logits,
        image_sizes,
        (nms_thresh, pre_nms_topk, post_nms_topk, min_box_size, training),
    )


def _best(
    form: tuple[Any, Any],
    proposals: Sequence[Tensor],
    all_logits: Sequence[Tensor],
    image_sizes: Sequence[Any],
    settings: tuple[float, int, int, float, bool],
) -> list[Instances]:
    (kind, nms), (thresh, pre_topk, post_topk, min_size, training) = form, settings
    scores, boxes, levels = [], [], []
    for level, (current, logits) in enumerate(zip(proposals, all_logits, strict=True)):
        top, index = logits.topk(min(logits.shape[1], pre_topk), dim=1)
        scores.append(top)
        boxes.append(current.gather(1, index[..., None].expand(-1, -1, current.shape[-1])))
        levels.append(torch.full((top.shape[1],), level, dtype=torch.int64, device=current.device))
    every, all_scores, all_levels = cat(boxes, dim=1), cat(scores, dim=1), cat(levels, dim=0)
    results = []
    for place, size in enumerate(image_sizes):
        current, logits, level_ids = kind(every[place]), all_scores[place], all_levels
        finite = torch.isfinite(current.tensor).all(dim=1) & torch.isfinite(logits)
        if not finite.all():
            if training:
                raise FloatingPointError("Predicted boxes or scores contain Inf/NaN. Training has diverged.")
            current, logits, level_ids = current[finite], logits[finite], level_ids[finite]
        current.clip(size)
        keep = current.nonempty(threshold=min_size)
        if not keep.all():
            current, logits, level_ids = current[keep], logits[keep], level_ids[keep]
        selected = nms(current.tensor, logits, level_ids, thresh)[:post_topk]
        results.append(Instances(size, proposal_boxes=current[selected], objectness_logits=logits[selected]))
    return results


def add_ground_truth_to_proposals(gt: Sequence[Any], proposals: Sequence[Instances]) -> list[Instances]:
    """Append ground-truth boxes to the proposals, which helps early training.

    Args:
        gt: ground-truth `Instances` of each image, or their boxes.
        proposals: proposals of each image.
    """
    assert gt is not None
    if len(proposals) != len(gt):
        raise ValueError("proposals and gt should have the same length as the number of images!")
    return [add_ground_truth_to_proposals_single_image(a, b) for a, b in zip(gt, proposals, strict=True)]


def add_ground_truth_to_proposals_single_image(gt: Any, proposals: Instances) -> Instances:
    """`add_ground_truth_to_proposals` for one image."""
    if isinstance(gt, Boxes):
        gt = Instances(proposals.image_size, gt_boxes=gt)
    boxes = gt.gt_boxes
    # Objects count as proposals with a probability of almost 1.
    logit = math.log((1.0 - 1e-10) / (1 - (1.0 - 1e-10)))
    logits = logit * torch.ones(len(boxes), device=proposals.objectness_logits.device)
    current = Instances(proposals.image_size, **gt.get_fields())
    current.proposal_boxes, current.objectness_logits = boxes, logits
    for name in proposals.get_fields():
        assert current.has(name), f"The attribute '{name}' in `proposals` does not exist in `gt`"
    for name in list(current.get_fields()):
        if not proposals.has(name):
            current.remove(name)
    return Instances.cat([proposals, current])
