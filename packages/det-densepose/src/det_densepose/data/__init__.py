"""Annotated points: readers, checks, and transforms that follow the symmetry of the body."""

from det_densepose.data.dataset import IGNORED, DensePoseDataset
from det_densepose.data.mirror import BodySymmetry

__all__ = ["IGNORED", "BodySymmetry", "DensePoseDataset"]
