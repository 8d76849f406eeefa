"""Metrics of each benchmark."""

from det_datasets.evaluators.cityscapes import CityscapesEvaluator
from det_datasets.evaluators.lvis import LvisEvaluator
from det_datasets.evaluators.proposals import ProposalRecall
from det_datasets.evaluators.semantic import MeanIoU
from det_datasets.evaluators.voc import VocEvaluator

__all__ = ["CityscapesEvaluator", "LvisEvaluator", "MeanIoU", "ProposalRecall", "VocEvaluator"]
