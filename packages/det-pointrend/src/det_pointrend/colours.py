"""The colours of SSD's augmentation, which the published semantic models were trained with."""

from typing import Any

import torch
from det_core.errors import ConfigError
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

__all__ = ["ColourDistortion"]


class ColourDistortion(v2.Transform):
    """Another brightness, contrast, saturation and hue, each with an even chance (Liu et al., "SSD", 2016).

    Contrast comes before saturation and hue or after them, with an even chance too.

    Args:
        brightness: what is added to all values, at most, either way.
        contrast: the smallest and the largest factor of all values.
        saturation: the smallest and the largest factor.
        hue: by how much of the circle of colours it turns, at most, either way.
    """

    def __init__(
        self,
        brightness: float = 32.0,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: float = 0.1,
    ) -> None:
        super().__init__()
        if brightness < 0 or min(*contrast, *saturation) < 0 or not 0 <= hue <= 0.5:
            found = f"got {brightness}, {contrast}, {saturation} and {hue}"
            raise ConfigError("ColourDistortion", "must be given what is not negative, and a hue up to 0.5", found)
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the changes; None leaves a property as it is."""
        return {
            "brightness": _drawn(-self.brightness, self.brightness),
            "contrast": _drawn(*self.contrast),
            "saturation": _drawn(*self.saturation),
            "hue": _drawn(-self.hue, self.hue),
            "contrast_first": bool(torch.rand(()) < 0.5),
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Change an image; everything else stays as it is."""
        if not isinstance(inpt, tv_tensors.Image):
            return inpt
        image = inpt.as_subclass(Tensor)
        if (shift := params["brightness"]) is not None:
            image = (image.float() + shift).clamp(0, 255).to(torch.uint8)
        # torchvision calls a factor of all values brightness.
        contrast = [(functional.adjust_brightness, params["contrast"])]
        colours = [(functional.adjust_saturation, params["saturation"]), (functional.adjust_hue, params["hue"])]
        for adjust, amount in contrast + colours if params["contrast_first"] else colours + contrast:
            if amount is not None:
                image = adjust(image, amount)
        return tv_tensors.wrap(image, like=inpt)


def _drawn(smallest: float, largest: float) -> float | None:
    if torch.rand(()) < 0.5:
        return None
    return smallest + (largest - smallest) * torch.rand(()).item()
