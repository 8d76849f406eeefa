"""Prediction with a trained model: `Detector`, its results, test-time augmentation, and steps that make it faster."""

from det_core.predict.augmented import AugmentedDetector
from det_core.predict.detector import Detector
from det_core.predict.optimize import optimize
from det_core.predict.result import Result

__all__ = ["AugmentedDetector", "Detector", "Result", "optimize"]
