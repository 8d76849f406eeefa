"""Parts that accompany a training, named in a recipe under `train.callbacks` by import path."""

from det_core.engine.callbacks.base import Callback, Callbacks
from det_core.engine.callbacks.ema import EMA
from det_core.engine.callbacks.freeze import Freeze

__all__ = [
    "EMA",
    "Callback",
    "Callbacks",
    "Freeze",
]
