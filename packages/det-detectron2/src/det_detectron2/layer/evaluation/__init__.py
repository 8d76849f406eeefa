"""Metrics of predictions, as `detectron2.evaluation`."""

from det_detectron2.layer.evaluation.coco_evaluation import COCOEvaluator
from det_detectron2.layer.evaluation.evaluator import (
    DatasetEvaluator,
    DatasetEvaluators,
    inference_context,
    inference_on_dataset,
)
from det_detectron2.layer.evaluation.lvis_evaluation import LVISEvaluator
from det_detectron2.layer.evaluation.panoptic_evaluation import COCOPanopticEvaluator
from det_detectron2.layer.evaluation.pascal_voc_evaluation import PascalVOCDetectionEvaluator
from det_detectron2.layer.evaluation.rotated_coco_evaluation import RotatedCOCOEvaluator
from det_detectron2.layer.evaluation.sem_seg_evaluation import CityscapesSemSegEvaluator, SemSegEvaluator
from det_detectron2.layer.evaluation.testing import print_csv_format, verify_results

__all__ = [
    "COCOEvaluator",
    "COCOPanopticEvaluator",
    "CityscapesSemSegEvaluator",
    "DatasetEvaluator",
    "DatasetEvaluators",
    "LVISEvaluator",
    "PascalVOCDetectionEvaluator",
    "RotatedCOCOEvaluator",
    "SemSegEvaluator",
    "inference_context",
    "inference_on_dataset",
    "print_csv_format",
    "verify_results",
]
