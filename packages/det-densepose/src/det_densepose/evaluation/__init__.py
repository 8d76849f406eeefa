"""Evaluation of DensePose."""

from det_densepose.evaluation.evaluator import DensePoseEvaluator

__all__ = ["DensePoseEvaluator"]
