"""Transforms of a sample: resizing, crops, and mixtures of several images."""

from det_core.data.transforms.crops import FixedSizeCrop, RandomCrop, ScaleJitter
from det_core.data.transforms.geometric import Points, ResizeShortestEdge, compose

__all__ = [
    "FixedSizeCrop",
    "Points",
    "RandomCrop",
    "ResizeShortestEdge",
    "ScaleJitter",
    "compose",
]
