"""Judges of segments and of the pixels of stuff."""

from det_panoptic.evaluation.quality import BoundaryQuality, PanopticQuality
from det_panoptic.evaluation.stuff import StuffIoU

__all__ = ["BoundaryQuality", "PanopticQuality", "StuffIoU"]
