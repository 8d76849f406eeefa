"""Prediction and training, as `detectron2.engine`."""

from det_detectron2.layer.engine.defaults import DefaultPredictor

__all__ = ["DefaultPredictor"]
