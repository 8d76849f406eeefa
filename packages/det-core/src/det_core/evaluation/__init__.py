"""Judging predictions against the truth."""

from det_core.evaluation.coco import CocoEvaluator
from det_core.evaluation.coco_results import from_coco, to_coco
from det_core.evaluation.semantic import MeanIoU

__all__ = ["CocoEvaluator", "MeanIoU", "from_coco", "to_coco"]
