"""Transforms of a sample: resizing, crops, and mixtures of several images."""

from det_core.data.transforms.crops import FixedSizeCrop, ObjectCrop, RandomCrop, ScaleJitter
from det_core.data.transforms.geometric import Points, ResizeShortestEdge, compose
from det_core.data.transforms.mixing import CopyPaste, Mosaic

__all__ = [
    "CopyPaste",
    "FixedSizeCrop",
    "Mosaic",
    "ObjectCrop",
    "Points",
    "RandomCrop",
    "ResizeShortestEdge",
    "ScaleJitter",
    "compose",
]
