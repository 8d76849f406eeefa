"""Predictions in other forms: files of annotation tools, crops, and large images in tiles."""

from det_inspect.predictions.contours import contours
from det_inspect.predictions.tiles import TiledDetector

__all__ = ["TiledDetector", "contours"]
