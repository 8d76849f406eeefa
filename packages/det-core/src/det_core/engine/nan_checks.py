"""Non-finite numbers in a model's outputs: the images without results because of them, and the cause."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from det_core.errors import DetWarning
from det_core.structures import Prediction, Sample

__all__ = ["capture_features", "fix_for", "non_finite", "warn_of_non_finite"]


@contextmanager
def capture_features(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """The feature maps of the last forward pass of `model.backbone`, by level; {} without a backbone."""
    features: dict[str, Tensor] = {}

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        features.update(output if isinstance(output, dict) else {})

    backbone = getattr(model, "backbone", None)
    handle = backbone.register_forward_hook(keep) if isinstance(backbone, nn.Module) else None
    try:
        yield features
    finally:
        if handle is not None:
            handle.remove()


def non_finite(features: Mapping[str, Tensor], row: int, prediction: Prediction) -> str:
    """Describe NaN and infinity in an image without detections; "" for none.

    Args:
        features: feature maps (B, C, H, W) of the batch, by level.
        row: index of the image in the batch.
        prediction: the prediction of the image.
    """
    detections, semantic = prediction.detections, prediction.semantic
    # An image with detections has finite features, so only others are checked, which costs little.
    if detections is not None and len(detections):
        return ""
    if levels := [name for name, level in features.items() if not level[row].isfinite().all()]:
        return f"levels {', '.join(levels)} of the backbone hold NaN or infinity"
    if semantic is not None and not semantic.logits.isfinite().all():
        return "the class scores hold NaN or infinity"
    return ""


def fix_for(model: nn.Module) -> str:
    """The likely cause of non-finite outputs: damaged weights, or the precision."""
    damaged = [name for name, parameter in model.named_parameters() if not parameter.isfinite().all()]
    return f"the weights are damaged: {', '.join(damaged[:3])}" if damaged else "compute in float32"


def warn_of_non_finite(
    model: nn.Module, features: Mapping[str, Tensor], samples: Sequence[Sample], predictions: Sequence[Prediction]
) -> None:
    """Warn of each image without results because of NaN or infinity."""
    for row, (sample, prediction) in enumerate(zip(samples, predictions, strict=True)):
        if problem := non_finite(features, row, prediction):
            where = str(sample.path or "image")
            warnings.warn(f"{where}: nothing can be found: {problem}; {fix_for(model)}", DetWarning, stacklevel=3)
