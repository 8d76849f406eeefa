"""Prediction with a trained model: `Detector`, its results, and steps that make it faster."""

from det_core.predict.detector import Detector
from det_core.predict.optimize import optimize
from det_core.predict.result import Result

__all__ = ["Detector", "Result", "optimize"]
