"""Models of DensePose: heads, predictors, embeddings of meshes, and the second stage that holds them."""

from det_densepose.models.decoder import Decoder
from det_densepose.models.densepose import DensePoseHead
from det_densepose.models.embedder import Embedder, VertexDirectEmbedder, VertexFeatureEmbedder
from det_densepose.models.heads import DensePoseDeepLabHead, DensePoseV1ConvXHead
from det_densepose.models.predictors import DensePoseChartPredictor, DensePoseEmbeddingPredictor
from det_densepose.models.stage import densepose_roi_heads

__all__ = [
    "Decoder",
    "DensePoseChartPredictor",
    "DensePoseDeepLabHead",
    "DensePoseEmbeddingPredictor",
    "DensePoseHead",
    "DensePoseV1ConvXHead",
    "Embedder",
    "VertexDirectEmbedder",
    "VertexFeatureEmbedder",
    "densepose_roi_heads",
]
