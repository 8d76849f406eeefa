"""Judging predictions against the truth."""

from det_core.evaluation.coco import CocoEvaluator
from det_core.evaluation.coco_results import from_coco, to_coco
from det_core.evaluation.lvis import LvisEvaluator
from det_core.evaluation.semantic import MeanIoU
from det_core.evaluation.voc import VocEvaluator

__all__ = ["CocoEvaluator", "LvisEvaluator", "MeanIoU", "VocEvaluator", "from_coco", "to_coco"]
