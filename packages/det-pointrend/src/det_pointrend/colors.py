"""SSD's color augmentation, with which the published semantic models were trained."""

from typing import Any

import torch
from det_core.errors import ConfigError
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

__all__ = ["ColorDistortion"]


class ColorDistortion(v2.Transform):
    """Random brightness, contrast, saturation and hue, each with probability 0.5 (Liu et al., "SSD", 2016).

    Contrast is changed before saturation and hue or after them, with probability 0.5.

    Args:
        brightness: maximum absolute shift of pixel values in [0, 255].
        contrast: minimum and maximum factor of pixel values.
        saturation: minimum and maximum saturation factor.
        hue: maximum absolute rotation of the hue, as a fraction of the circle, in [0, 0.5].
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
            raise ConfigError("ColorDistortion", "must be given what is not negative, and a hue up to 0.5", found)
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the parameters; None leaves a property unchanged."""
        return {
            "brightness": _random_factor(-self.brightness, self.brightness),
            "contrast": _random_factor(*self.contrast),
            "saturation": _random_factor(*self.saturation),
            "hue": _random_factor(-self.hue, self.hue),
            "contrast_first": bool(torch.rand(()) < 0.5),
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Change an image; other inputs are unchanged."""
        if not isinstance(inpt, tv_tensors.Image):
            return inpt
        image = inpt.as_subclass(Tensor)
        if (shift := params["brightness"]) is not None:
            image = (image.float() + shift).clamp(0, 255).to(torch.uint8)
        # torchvision calls a factor of all values brightness.
        contrast = [(functional.adjust_brightness, params["contrast"])]
        changes = [(functional.adjust_saturation, params["saturation"]), (functional.adjust_hue, params["hue"])]
        for adjust, amount in contrast + changes if params["contrast_first"] else changes + contrast:
            if amount is not None:
                image = adjust(image, amount)
        return tv_tensors.wrap(image, like=inpt)


def _random_factor(smallest: float, largest: float) -> float | None:
    if torch.rand(()) < 0.5:
        return None
    return smallest + (largest - smallest) * torch.rand(()).item()
