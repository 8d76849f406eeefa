"""Backbones: their role, and checks for backbones only."""

from collections.abc import Mapping
from typing import Any

import torch
from det_core.contracts import Backbone
from det_core.structures import Size
from torch import Tensor, nn
from torch.nn import functional as F

from det_devkit.conformance.report import Check, Failed, check
from det_devkit.conformance.roles import require_members, require_module
from det_devkit.conformance.subject import Subject
from det_devkit.conformance.synthetic import Scene

__all__ = ["BackboneRole", "declared"]


class BackboneRole:
    """Pixels in, feature maps out."""

    def parents(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def require(self, module: Any, scene: Scene) -> None:
        """Attributes of the right types, over the same levels, finest first."""
        require_module(module)
        require_members(module, Backbone, ("channels", "strides", "size_divisibility"))
        for name in ("channels", "strides"):
            value = getattr(module, name)
            whole = isinstance(value, Mapping) and all(isinstance(v, int) and v > 0 for v in value.values())
            if not whole or not value:
                raise Failed(f"{name} is {value!r}", "make it a mapping from level to a positive int")
        if list(module.channels) != list(module.strides):
            found = f"channels names {', '.join(module.channels)}; strides names {', '.join(module.strides)}"
            raise Failed(found, "name the same levels in the same order")
        if list(module.strides.values()) != sorted(module.strides.values()):
            raise Failed(f"strides are {dict(module.strides)}", "name the finest level first")
        if not isinstance(module.size_divisibility, int) or module.size_divisibility < 1:
            raise Failed(
                f"size_divisibility is {module.size_divisibility!r}", "make it an int, 1 where any size will do"
            )

    def inputs(self, module: Any, scene: Scene) -> Tensor:
        """Pixels in [-2, 2], padded to the divisibility."""
        return padded(scene.batch.pixels.float() / 64 - 2, module.size_divisibility)

    def predict(self, module: Any, inputs: Any) -> list[dict[str, Tensor]]:
        """The feature maps of each image."""
        features = module(inputs)
        return [{level: feature[i] for level, feature in features.items()} for i in range(len(inputs))]

    def losses(self, module: Any, inputs: Any) -> dict[str, Tensor]:
        """Distance of the feature maps from the image brightness."""
        bright = inputs.mean(dim=1, keepdim=True)
        return {
            level: (feature - F.adaptive_avg_pool2d(bright, feature.shape[-2:])).float().square().mean()
            for level, feature in module(inputs).items()
        }

    def exportable(self, module: Any, inputs: Any) -> tuple[nn.Module, tuple[Any, ...]]:
        """The whole network."""
        return module, (inputs,)


def padded(pixels: Tensor, divisibility: int) -> Tensor:
    """Pixels (B, 3, H, W) padded with zeros right and bottom to multiples of `divisibility`."""
    height, width = pixels.shape[-2:]
    return F.pad(pixels, (0, -width % divisibility, 0, -height % divisibility))


_SIZES: tuple[Size, ...] = ((64, 64), (64, 160), (97, 33), (131, 70))


@check("its channels and strides are as declared")
def declared(subject: Subject) -> None:
    """For images of any shape, also of sizes that no stride divides, every level has its declared size."""
    module = subject.make().eval()
    for size in _SIZES:
        pixels = padded(torch.zeros(2, 3, *size), module.size_divisibility)
        with torch.no_grad():
            features = module(pixels)
        require_features(features, module, pixels)


def require_features(features: Any, module: Any, pixels: Tensor) -> None:
    """Raise Failed if feature maps lack the declared shapes of a backbone."""
    for_input = f"for pixels of shape {tuple(pixels.shape)}"
    if not isinstance(features, Mapping) or list(features) != list(module.channels):
        actual = list(features) if isinstance(features, Mapping) else type(features).__name__
        raise Failed(
            f"forward returns {actual} {for_input}", f"return a dict of {list(module.channels)}, in this order"
        )
    batch, _, height, width = pixels.shape
    for level, feature in features.items():
        stride = module.strides[level]
        expected = (batch, module.channels[level], -(-height // stride), -(-width // stride))
        exact = getattr(module, "exact_sizes", True)
        fits = tuple(feature.shape) == expected or (
            not exact
            and tuple(feature.shape[:2]) == expected[:2]
            and all(0 < side <= most for side, most in zip(feature.shape[2:], expected[2:], strict=True))
        )
        if not fits:
            problem = f"level {level!r} has shape {tuple(feature.shape)} {for_input}; it declares {expected}"
            fix = "correct channels, strides or size_divisibility, or the padding of its convolutions"
            raise Failed(problem, f"{fix}; exact_sizes = False where levels may be smaller" if exact else fix)


CHECKS: tuple[Check, ...] = (declared,)
