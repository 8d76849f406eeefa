"""Random changes and what they apply to, as `detectron2.data.transforms.augmentation`."""

import inspect
import pprint
from collections.abc import Sequence
from typing import Any

import numpy as np
from fvcore.transforms.transform import Transform, TransformList
from numpy.typing import NDArray

__all__ = [
    "AugInput",
    "Augmentation",
    "AugmentationList",
    "StandardAugInput",
    "TransformGen",
    "apply_augmentations",
    "apply_transform_gens",
]


def _check_img_dtype(image: NDArray[Any]) -> None:
    assert isinstance(image, np.ndarray), f"[Augmentation] Needs an numpy array, but got a {type(image)}!"
    whole = np.issubdtype(image.dtype, np.integer)
    assert not whole or image.dtype == np.uint8, f"[Augmentation] Got image of type {image.dtype}, use uint8 or floats!"
    assert image.ndim in (2, 3), f"[Augmentation] Got an image of {image.ndim} dimensions, not 2 or 3"


class AugInput:
    """An image with its boxes and semantic labels, which are transformed together.

    Args:
        image: image (H, W) or (H, W, C), uint8 or float.
        boxes: boxes (N, 4), xyxy in pixels.
        sem_seg: semantic labels (H, W).
    """

    def __init__(
        self, image: NDArray[Any], *, boxes: NDArray[Any] | None = None, sem_seg: NDArray[Any] | None = None
    ) -> None:
        _check_img_dtype(image)
        self.image, self.boxes, self.sem_seg = image, boxes, sem_seg

    def transform(self, tfm: Transform) -> None:
        """Change all, in place."""
        self.image = tfm.apply_image(self.image)
        if self.boxes is not None:
            self.boxes = tfm.apply_box(self.boxes)
        if self.sem_seg is not None:
            self.sem_seg = tfm.apply_segmentation(self.sem_seg)

    def apply_augmentations(self, augmentations: Sequence[Any]) -> TransformList:
        """Change all by augmentations in turn; what was drawn."""
        return AugmentationList(augmentations)(self)


StandardAugInput = AugInput


class Augmentation:
    """Draws a change, a `Transform`, for an image.

    `get_transform` takes what it needs by the names of `AugInput`: an image alone, or (image, boxes), ...
    """

    input_args: tuple[str, ...] | None = None

    def _init(self, params: dict[str, Any] | None = None) -> None:
        for name, value in (params or {}).items():
            if name != "self" and not name.startswith("_"):
                setattr(self, name, value)

    def get_transform(self, *args: Any) -> Transform:
        """The change that is drawn."""
        raise NotImplementedError

    def __call__(self, aug_input: Any) -> Transform:
        """Change an `AugInput`, in place; what was drawn."""
        sampled = self.get_transform(*self._arguments(aug_input))
        assert isinstance(sampled, Transform | TransformList), (
            f"{type(self)}.get_transform must return an instance of Transform! Got {type(sampled)} instead."
        )
        aug_input.transform(sampled)
        return sampled

    def _arguments(self, aug_input: Any) -> list[Any]:
        if self.input_args is None:
            parameters = list(inspect.signature(self.get_transform).parameters.values())
            kinds = {each.kind for each in parameters}
            if len(parameters) == 1:
                names: tuple[str, ...] = ("image",)
            elif kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
                raise TypeError(f"{type(self)}.get_transform takes *args: give its class input_args")
            else:
                names = tuple(each.name for each in parameters)
            self.input_args = names
        values = []
        for name in self.input_args:
            try:
                values.append(getattr(aug_input, name))
            except AttributeError as error:
                message = f"{type(self).__qualname__}.get_transform needs input attribute '{name}'"
                raise AttributeError(f"{message}, but it is not an attribute of {type(aug_input)}!") from error
        return values

    def _rand_range(self, low: float = 1.0, high: float | None = None, size: Any = None) -> Any:
        """Uniform in [0, low), or in [low, high)."""
        if high is None:
            low, high = 0, low
        return np.random.uniform(low, high, size or [])

    def __repr__(self) -> str:
        """The arguments that differ from the defaults."""
        try:
            displayed = []
            for name, parameter in inspect.signature(self.__init__).parameters.items():  # type: ignore[misc]
                if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                    raise TypeError(name)
                value = getattr(self, name)
                if parameter.default is value:
                    continue
                text = pprint.pformat(value)
                displayed.append(f"{name}={'...' if chr(10) in text else text}")
        except (TypeError, AttributeError):
            return super().__repr__()
        return f"{type(self).__name__}({', '.join(displayed)})"

    __str__ = __repr__


class _Fixed(Augmentation):
    """A change that is always the same."""

    def __init__(self, tfm: Transform) -> None:
        self.tfm = tfm

    def get_transform(self, *args: Any) -> Transform:
        """The change."""
        return self.tfm

    def _arguments(self, aug_input: Any) -> list[Any]:
        return []

    def __repr__(self) -> str:
        return repr(self.tfm)

    __str__ = __repr__


def as_augmentation(source: Any) -> Augmentation:
    """An augmentation, a change, or a list of them, as one augmentation."""
    if isinstance(source, Augmentation):
        return source
    if isinstance(source, Transform | TransformList):
        return _Fixed(source)
    if isinstance(source, list | tuple):
        return AugmentationList(source)
    raise TypeError(f"an augmentation or a transform is needed, not {type(source).__name__}")


class AugmentationList(Augmentation):
    """Applies augmentations in order.

    Args:
        augs: augmentations, transforms, or lists of them, applied in order.
    """

    def __init__(self, augs: Sequence[Any]) -> None:
        self.augs = [as_augmentation(each) for each in augs]

    def __call__(self, aug_input: Any) -> TransformList:
        """Change an `AugInput`, in place; what was drawn."""
        return TransformList([each(aug_input) for each in self.augs])

    def __repr__(self) -> str:
        return f"AugmentationList[{', '.join(map(str, self.augs))}]"

    __str__ = __repr__


def apply_augmentations(augmentations: Sequence[Any], inputs: Any) -> tuple[Any, TransformList]:
    """Change an image (H, W) or (H, W, C), or an `AugInput`; the result, and what was drawn."""
    if isinstance(inputs, np.ndarray):
        wrapped = AugInput(inputs)
        sampled = wrapped.apply_augmentations(augmentations)
        return wrapped.image, sampled
    return inputs, inputs.apply_augmentations(augmentations)


TransformGen, apply_transform_gens = Augmentation, apply_augmentations
"""Their names before version 0.3."""
