"""Tell where a model finds nothing because its numbers are none."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from det_core.errors import DetWarning
from det_core.structures import Prediction, Sample

__all__ = ["not_numbers", "remedy", "warn_of_nan", "watched"]


@contextmanager
def watched(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """The feature maps that the backbone made last, by level; {} where there is no backbone."""
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


def not_numbers(features: Mapping[str, Tensor], row: int, prediction: Prediction) -> str:
    """Which numbers are NaN or infinite of image `row` of a batch, where nothing was found in it; else ""."""
    detections, semantic = prediction.detections, prediction.semantic
    # Who finds something has seen numbers; a look at the features of the others costs little.
    if detections is not None and len(detections):
        return ""
    if levels := [name for name, level in features.items() if not level[row].isfinite().all()]:
        return f"levels {', '.join(levels)} of the backbone hold NaN or infinity"
    if semantic is not None and not semantic.logits.isfinite().all():
        return "the class scores hold NaN or infinity"
    return ""


def remedy(model: nn.Module) -> str:
    """What to do about numbers that are none."""
    spoilt = [name for name, parameter in model.named_parameters() if not parameter.isfinite().all()]
    return f"the weights are damaged: {', '.join(spoilt[:3])}" if spoilt else "compute in float32"


def warn_of_nan(
    model: nn.Module, features: Mapping[str, Tensor], samples: Sequence[Sample], predictions: Sequence[Prediction]
) -> None:
    """Say so where nothing was found, or no class of a pixel, because numbers are NaN or infinite."""
    for row, (sample, prediction) in enumerate(zip(samples, predictions, strict=True)):
        if found := not_numbers(features, row, prediction):
            where = str(sample.path or "image")
            warnings.warn(f"{where}: nothing can be found: {found}; {remedy(model)}", DetWarning, stacklevel=3)
