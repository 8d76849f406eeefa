"""The teacher, which stays outside of the student's modules."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from det_core.errors import ConfigError
from det_core.recipes import Source
from torch import Tensor, nn

__all__ = ["Teacher", "recorded_features"]


@dataclass(frozen=True)
class Teacher:
    """Any detector of det, loaded when it is first needed.

    Attributes:
        source: path of a checkpoint or of the folder of a run, or the name or file of a recipe.
        weights: weight file for a recipe; empty for the default of `det_core.Detector.load`.
    """

    source: Source
    weights: str = ""

    def model(self, num_classes: int, device: torch.device) -> nn.Module:
        """The model, in evaluation mode, without gradients; one for all that ask for the same.

        Raises:
            ConfigError: it has another number of classes than the student.
            DetError: it cannot be loaded.
        """
        model = _loaded(self.source, self.weights, str(device))
        if (classes := getattr(model, "num_classes", num_classes)) != num_classes:
            fix = "teach with a model of the same data"
            raise ConfigError(
                "Distilled.teacher", f"must have the {num_classes} classes of the student", str(classes), fix
            )
        return model


@cache
def _loaded(source: str, weights: str, device: str) -> nn.Module:
    from det_core.predict import Detector

    model: nn.Module = Detector.load(source, weights or None, device).model
    return model.eval().requires_grad_(False)


@contextmanager
def recorded_features(model: Any, owner: str) -> Iterator[dict[str, Tensor]]:
    """Record the feature maps, by level, that the backbone of a model computes within the context.

    Raises:
        ConfigError: the model has no backbone that returns feature maps by level.
    """
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise ConfigError("Distilled", f"needs a {owner} with a backbone", f"got {type(model).__name__}")
    maps: dict[str, Tensor] = {}

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        maps.update(output)

    handle = backbone.register_forward_hook(keep)
    try:
        yield maps
    finally:
        handle.remove()
