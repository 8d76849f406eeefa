"""Parts that accompany a training, named in a recipe under `train.callbacks` by import path."""

from det_core.engine.callbacks.base import Callback, Callbacks
from det_core.engine.callbacks.ema import EMA
from det_core.engine.callbacks.freeze import Freeze
from det_core.engine.callbacks.selection import BestCheckpoint, EarlyStopping

__all__ = [
    "EMA",
    "BestCheckpoint",
    "Callback",
    "Callbacks",
    "EarlyStopping",
    "Freeze",
]
