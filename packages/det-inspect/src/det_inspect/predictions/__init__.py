"""Predictions of augmented images and of tiles, and in other forms: files of annotation tools, crops."""

from det_inspect.predictions.augmented import AugmentedDetector
from det_inspect.predictions.contours import contours
from det_inspect.predictions.tiles import TiledDetector

__all__ = ["AugmentedDetector", "TiledDetector", "contours"]
