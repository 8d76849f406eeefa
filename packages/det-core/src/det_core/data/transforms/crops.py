"""Crops, and the large-scale jitter that the newer published models are trained with.

Boxes are clipped to the window, recomputed from the masks where there are some, and objects of which
nothing is left are dropped; `compose` does so after any crop.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from det_core.errors import ConfigError
from det_core.structures import Size

__all__ = ["FixedSizeCrop", "RandomCrop", "ScaleJitter"]

# Padding of a semantic map: no class.
_UNKNOWN = 255
_ATTEMPTS = 10


class ScaleJitter(v2.Transform):
    """Resize so that the image just fits into `size` times a factor drawn from a range (Ghiasi et al., 2021).

    Args:
        size: (height, width), or the side of a square.
        scale: the smallest and the largest factor.
    """

    def __init__(self, size: int | Sequence[int], scale: Sequence[float] = (0.1, 2.0)) -> None:
        super().__init__()
        self.size = _pair(size, "ScaleJitter.size")
        if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise ConfigError("ScaleJitter.scale", "must be the smallest and the largest factor", f"got {scale}")
        self.scale = (float(scale[0]), float(scale[1]))

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the factor, for all parts of a sample alike."""
        smallest, largest = self.scale
        factor = smallest + (largest - smallest) * torch.rand(()).item()
        return {"size": list(self.resized(v2.query_size(flat_inputs), factor))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize one part of a sample."""
        return functional.resize(inpt, params["size"], antialias=True)

    def resized(self, size: Size, factor: float) -> Size:
        """The size of an image of `size` after the resize."""
        ratio = min(limit * factor / side for limit, side in zip(self.size, size, strict=True))
        height, width = (max(1, round(side * ratio)) for side in size)
        return height, width


class FixedSizeCrop(v2.Transform):
    """Crop a window of a fixed size, and pad smaller images right and bottom.

    Args:
        size: (height, width), or the side of a square.
        pad_value: value of the padding, 0 to 255 (masks: 0; semantic maps: no class); None leaves
            smaller images as they are.
    """

    def __init__(self, size: int | Sequence[int], pad_value: int | None = 128) -> None:
        super().__init__()
        self.size, self.pad_value = _pair(size, "FixedSizeCrop.size"), pad_value
        if pad_value is not None and not 0 <= pad_value <= 255:
            raise ConfigError("FixedSizeCrop.pad_value", "must be from 0 to 255", f"got {pad_value}")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the window, for all parts of a sample alike."""
        size = v2.query_size(flat_inputs)
        height, width = (min(side, crop_side) for side, crop_side in zip(size, self.size, strict=True))
        # One number for both directions, as published: the window lies on the image's diagonal.
        place = torch.rand(()).item()
        window = (round((size[0] - height) * place), round((size[1] - width) * place), height, width)
        return {"window": window, "padding": [0, 0, self.size[1] - width, self.size[0] - height]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Crop and pad one part of a sample."""
        cropped = functional.crop(inpt, *params["window"])
        if self.pad_value is None or not any(params["padding"]):
            return cropped
        fill = self.pad_value
        if isinstance(inpt, tv_tensors.Mask):
            fill = 0 if inpt.dtype == torch.bool else _UNKNOWN
        return functional.pad(cropped, params["padding"], fill=fill)


class RandomCrop(v2.Transform):
    """Cut a window out of an image, anywhere in it.

    Args:
        size: two pixel counts or fractions, as `form` defines.
        form: "absolute": (height, width) in pixels, less where the image is smaller; "absolute_range": height and
            width are each drawn from `size[0]` to `size[1]` pixels; "relative": shares of the image's height and width;
            "relative_range": each share is drawn from that of `size` to 1.
        max_class_share: draw another window, up to ten times, while more than this share of the pixels with a class in
            the semantic map is of one class.
    """

    def __init__(
        self,
        size: Sequence[float],
        form: Literal["absolute", "absolute_range", "relative", "relative_range"] = "absolute",
        max_class_share: float = 1.0,
    ) -> None:
        super().__init__()
        relative = form.startswith("relative")
        if len(size) != 2 or min(size) <= 0 or (relative and max(size) > 1):
            expected = "two shares above 0 and up to 1" if relative else "two positive numbers of pixels"
            raise ConfigError("RandomCrop.size", f"must be {expected}", f"got {size}")
        if not relative and any(side != int(side) for side in size):
            raise ConfigError("RandomCrop.size", "must be whole numbers of pixels", f"got {size}")
        if form == "absolute_range" and size[0] > size[1]:
            raise ConfigError("RandomCrop.size", "must be the smallest and the largest", f"got {size}")
        if not 0 < max_class_share <= 1:
            raise ConfigError("RandomCrop.max_class_share", "must be above 0 and up to 1", f"got {max_class_share}")
        self.size, self.form, self.max_class_share = tuple(size), form, max_class_share

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the window, for all parts of a sample alike."""
        size = v2.query_size(flat_inputs)
        maps = [part for part in flat_inputs if isinstance(part, tv_tensors.Mask) and part.ndim == 2]
        for _ in range(_ATTEMPTS if maps and self.max_class_share < 1 else 1):
            height, width = self.draw_size(size)
            top, left = _whole(0, size[0] - height), _whole(0, size[1] - width)
            if all(
                _largest_share(one[top : top + height, left : left + width]) <= self.max_class_share for one in maps
            ):
                break
        return {"window": (top, left, height, width)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Crop one part of a sample."""
        return functional.crop(inpt, *params["window"])

    def draw_size(self, size: Size) -> Size:
        """Height and width of a window in an image of `size`."""
        if self.form == "absolute":
            height, width = (min(int(crop_side), side) for crop_side, side in zip(self.size, size, strict=True))
        elif self.form == "absolute_range":
            smallest, largest = (int(side) for side in self.size)
            height, width = (_whole(min(side, smallest), min(side, largest)) for side in size)
        else:
            shares = self.size
            if self.form == "relative_range":
                shares = tuple(share + (1 - share) * torch.rand(()).item() for share in shares)
            height, width = (max(1, int(side * share + 0.5)) for side, share in zip(size, shares, strict=True))
        return height, width


def _largest_share(classes: Tensor) -> float:
    """The share of the most frequent class among the pixels whose class is known; 0 if none is."""
    counts = torch.bincount(classes[classes != _UNKNOWN])
    return float(counts.max() / counts.sum()) if len(counts) else 0.0


def _whole(smallest: int, largest: int) -> int:
    """A whole number from `smallest` to `largest`, both included."""
    return int(torch.randint(smallest, largest + 1, ()))


def _pair(size: int | Sequence[int], where: str) -> Size:
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or min(pair) < 1:
        raise ConfigError(where, "must be one positive number, or height and width", f"got {size}")
    return pair[0], pair[1]
