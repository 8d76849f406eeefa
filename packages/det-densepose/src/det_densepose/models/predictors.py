"""The last layers of DensePose: raw maps over each region."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from det_densepose.models.heads import initialize
from det_densepose.structures import NUM_PARTS

__all__ = ["DensePoseChartPredictor", "DensePoseEmbeddingPredictor", "UVConfidence"]

UVConfidence = Literal["iid_iso", "indep_aniso"]
"""How uncertainty of u and v is described: one variance for both, or a covariance with one direction of its own."""

_KERNEL = 4  # doubles the side together with stride 2 and padding 1
_SPREAD: dict[UVConfidence | None, tuple[str, ...]] = {
    None: (),
    "iid_iso": ("sigma_2",),
    "indep_aniso": ("sigma_2", "kappa_u", "kappa_v"),
}


class DensePoseChartPredictor(nn.Module):
    """Coarse and fine segmentation, and coordinates on the chart of each part; perhaps with confidences.

    Args:
        in_channels: number of output channels of the head.
        num_parts: number of fine parts, without background.
        coarse_channels: number of coarse classes: 2 for background and body, or background and all coarse parts.
        uv_confidence: model of the uncertainty of u and v; null for no confidences.
        segm_confidence: whether to predict confidences of both segmentations, which multiply their logits.
        up_scale: factor of upsampling after the transposed convolution.
        epsilon: minimum confidence of a segmentation.
    """

    def __init__(
        self,
        in_channels: int,
        num_parts: int = NUM_PARTS,
        coarse_channels: int = 2,
        uv_confidence: UVConfidence | None = None,
        segm_confidence: bool = False,
        up_scale: int = 2,
        epsilon: float = 0.01,
    ) -> None:
        super().__init__()
        self.up_scale, self.epsilon = up_scale, epsilon
        # Field -> layer and its channels, in the published names.
        layers = {
            "coarse_segm": ("ann_index", coarse_channels),
            "fine_segm": ("index_uv", num_parts + 1),
            "u": ("u", num_parts + 1),
            "v": ("v", num_parts + 1),
            **{name: (name, num_parts + 1) for name in _SPREAD[uv_confidence]},
        }
        if segm_confidence:
            layers |= {name: (name, 1) for name in ("fine_segm_confidence", "coarse_segm_confidence")}
        self._fields = _add_layers(self, in_channels, layers)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(P, in_channels, S, S) to {field: (P, C, 2 * up_scale * S, the same)}; see `structures.CHART_FIELDS`."""
        return _with_confidence(_predict(self, self._fields, x, self.up_scale), self.epsilon)


class DensePoseEmbeddingPredictor(nn.Module):
    """Coarse segmentation, and an embedding of each cell.

    Args:
        in_channels: number of output channels of the head.
        embed_dim: number of dimensions of an embedding.
        coarse_channels: number of coarse classes, 2 for background and body.
        segm_confidence: whether to predict a confidence of the segmentation, which multiplies its logits.
        up_scale: factor of upsampling after the transposed convolution.
        epsilon: minimum confidence of the segmentation.

    Attributes:
        embed_dim: dimension of the embeddings.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dim: int = 16,
        coarse_channels: int = 2,
        segm_confidence: bool = False,
        up_scale: int = 2,
        epsilon: float = 0.01,
    ) -> None:
        super().__init__()
        self.embed_dim, self.up_scale, self.epsilon = embed_dim, up_scale, epsilon
        layers = {"coarse_segm": ("coarse_segm", coarse_channels), "embedding": ("embed", embed_dim)}
        if segm_confidence:
            layers["coarse_segm_confidence"] = ("coarse_segm_confidence", 1)
        self._fields = _add_layers(self, in_channels, layers)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(P, in_channels, S, S) to {field: (P, C, 2 * up_scale * S, the same)}; see `structures.EMBEDDING_FIELDS`."""
        return _with_confidence(_predict(self, self._fields, x, self.up_scale), self.epsilon)


def _add_layers(module: nn.Module, in_channels: int, layers: dict[str, tuple[str, int]]) -> dict[str, str]:
    """Give a module its transposed convolutions; returns the layer's name of each field."""
    for name, channels in layers.values():
        layer = nn.ConvTranspose2d(in_channels, channels, _KERNEL, stride=2, padding=_KERNEL // 2 - 1)
        module.add_module(f"{name}_lowres", layer)
    initialize(module)
    return {field: f"{name}_lowres" for field, (name, _) in layers.items()}


def _predict(module: nn.Module, fields: dict[str, str], x: Tensor, scale: int) -> dict[str, Tensor]:
    return {
        field: F.interpolate(module.get_submodule(name)(x), scale_factor=scale, mode="bilinear", align_corners=False)
        for field, name in fields.items()
    }


def _with_confidence(outputs: dict[str, Tensor], epsilon: float) -> dict[str, Tensor]:
    """The fields with the confidences of segmentations made positive, and multiplied into their logits."""
    for name in ("fine_segm", "coarse_segm"):
        if (confidence := outputs.get(f"{name}_confidence")) is not None:
            confidence = F.softplus(confidence) + epsilon
            outputs[f"{name}_confidence"] = confidence
            outputs[name] = outputs[name] * confidence
    return outputs
