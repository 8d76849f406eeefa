"""Judging predictions against the truth."""

from det_core.evaluation.coco import CocoEvaluator
from det_core.evaluation.coco_results import from_coco, to_coco

__all__ = ["CocoEvaluator", "from_coco", "to_coco"]
