"""Embeddings of objects, pooled from the feature maps that the backbone makes anyway."""

from dataclasses import replace
from typing import Any, Self

import torch
from det_core.errors import ConfigError
from det_core.predict import Detector
from det_core.structures import Detections
from torch import Tensor, nn
from torchvision.ops import roi_align

from det_video.tracking.tracker import EMBEDDING, upright

__all__ = ["Appearance"]

_CELLS = 4
"""Rows and columns that a box is pooled to: parts of an object keep their place."""


class Appearance:
    """Keeps the feature maps of a batch, within its context, and pools the boxes of each image.

    Args:
        detector: detector whose model has a `backbone`.

    Raises:
        ConfigError: the model has no backbone.
    """

    def __init__(self, detector: Detector) -> None:
        backbone = getattr(detector.model, "backbone", None)
        if not isinstance(backbone, nn.Module):
            raise ConfigError("appearance", "this model has no backbone whose feature maps could be used")
        self._backbone: nn.Module = backbone
        self._features: dict[str, Tensor] = {}
        self._input: tuple[int, int] = (1, 1)

    def __enter__(self) -> Self:
        self._handle = self._backbone.register_forward_hook(self._keep)
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.remove()

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, dict):
            self._features = {name: level.detach() for name, level in output.items()}

    def add(self, detections: Detections, row: int) -> Detections:
        """The detections of an image, the batch's number `row`, with the extra `EMBEDDING`.

        All images of the batch have one size, as those of a video do; what the model pads at the right and bottom is
        less than the stride of the coarsest level.
        """
        if not self._features:
            raise ConfigError("appearance", "the backbone gave no feature maps")
        level = max(self._features.values(), key=lambda each: each.shape[-1])[row : row + 1].float()
        height, width = detections.size
        scale = min(level.shape[-2] / height, level.shape[-1] / width)
        boxes = upright(detections.boxes).to(level.device) * scale
        pooled = roi_align(level, [boxes], _CELLS, aligned=True).flatten(1)
        embedding = torch.nn.functional.normalize(pooled - pooled.mean(1, keepdim=True), dim=1).cpu()
        return replace(detections, extras={**detections.extras, EMBEDDING: embedding})
