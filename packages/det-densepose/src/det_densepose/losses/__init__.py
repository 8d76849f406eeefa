"""Losses of charts, of continuous surface embeddings, and of the coarse segmentation that both have."""

from det_densepose.losses.charts import ChartWeights, DensePoseChartLoss
from det_densepose.losses.coarse import CoarseLossFromMasks, CoarseLossFromParts
from det_densepose.losses.cse import CseWeights, DensePoseCseLoss
from det_densepose.losses.cycles import PixToShapeCycleLoss, ShapeToShapeCycleLoss
from det_densepose.losses.embedding import EmbeddingLoss, SoftEmbeddingLoss
from det_densepose.losses.regions import Regions

__all__ = [
    "ChartWeights",
    "CoarseLossFromMasks",
    "CoarseLossFromParts",
    "CseWeights",
    "DensePoseChartLoss",
    "DensePoseCseLoss",
    "EmbeddingLoss",
    "PixToShapeCycleLoss",
    "Regions",
    "ShapeToShapeCycleLoss",
    "SoftEmbeddingLoss",
]
