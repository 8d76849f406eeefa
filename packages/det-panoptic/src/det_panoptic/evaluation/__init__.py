"""Evaluators of panoptic segments and of stuff pixels."""

from det_panoptic.evaluation.quality import BoundaryQuality, PanopticQuality
from det_panoptic.evaluation.stuff import StuffIoU

__all__ = ["BoundaryQuality", "PanopticQuality", "StuffIoU"]
