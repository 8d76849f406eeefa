"""Prediction with a trained model: `Detector` and its results."""

from det_core.predict.detector import Detector
from det_core.predict.result import Result

__all__ = ["Detector", "Result"]
