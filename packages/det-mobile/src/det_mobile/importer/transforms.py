"""D2Go's augmentations, `Name::{arguments as JSON}`, as nodes of transforms."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from det_core.printable import quoted
from det_detectron2.importer.settings import UnsupportedError

__all__ = ["transform_of"]

_V2, _DET = "torchvision.transforms.v2", "det_core.data"
Arguments = Mapping[str, Any]


def _jitter(what: str) -> Callable[[Arguments], dict[str, Any]]:
    def build(values: Arguments) -> dict[str, Any]:
        return {"type": f"{_V2}:ColorJitter", what: [values["intensity_min"], values["intensity_max"]]}

    return build


def _flip(values: Arguments) -> dict[str, Any]:
    vertical = values.get("vertical", False)
    if values.get("horizontal", not vertical) == vertical:
        raise ValueError("one direction is flipped, and not both")
    node = {"type": f"{_V2}:{'RandomVerticalFlip' if vertical else 'RandomHorizontalFlip'}"}
    return node if values.get("prob", 0.5) == 0.5 else {**node, "p": values["prob"]}


def _resize(values: Arguments) -> dict[str, Any]:
    shape = values["shape"]
    return {"type": f"{_V2}:Resize", "size": [shape, shape] if isinstance(shape, int) else list(shape)}


def _shortest_edge(values: Arguments) -> dict[str, Any]:
    short = values["short_edge_length"]
    node = {"type": f"{_DET}:ResizeShortestEdge", "size": short}
    if "max_size" in values:
        node["max_size"] = values["max_size"]
    style = values.get("sample_style", "range")
    if style not in ("range", "choice"):
        raise ValueError(f"sample_style is {quoted(style)}")
    return node if style == "choice" or isinstance(short, int) else {**node, "draw": "range"}


def _crop(values: Arguments) -> dict[str, Any]:
    return {"type": f"{_DET}:RandomCrop", "size": list(values["crop_size"]), "form": values["crop_type"]}


def _rotation(values: Arguments) -> dict[str, Any]:
    if values.get("sample_style", "range") != "range":
        raise ValueError("angles are drawn from a range alone")
    angle = values["angle"]
    low, high = (-angle, angle) if isinstance(angle, int | float) else angle
    return {"type": f"{_V2}:RandomRotation", "degrees": [float(low), float(high)], "expand": values.get("expand", True)}


def _scale(values: Arguments) -> dict[str, Any]:
    size = [values["target_height"], values["target_width"]]
    return {"type": f"{_DET}:ScaleJitter", "size": size, "scale": [values["min_scale"], values["max_scale"]]}


def _fixed_crop(values: Arguments) -> dict[str, Any]:
    return {"type": f"{_DET}:FixedSizeCrop", "size": values["crop_size"]}


# Name -> the arguments that it must have and may have, and its node.
_LEVELS = ({"intensity_min", "intensity_max"}, set[str]())
_TRANSFORMS: Mapping[str, tuple[set[str], set[str], Callable[[Arguments], dict[str, Any]]]] = {
    "RandomFlipOp": (set(), {"prob", "horizontal", "vertical"}, _flip),
    "RandomBrightnessOp": (*_LEVELS, _jitter("brightness")),
    "RandomContrastOp": (*_LEVELS, _jitter("contrast")),
    "RandomSaturationOp": (*_LEVELS, _jitter("saturation")),
    "ResizeOp": ({"shape"}, set(), _resize),
    "ResizeShortestEdgeOp": ({"short_edge_length"}, {"max_size", "sample_style"}, _shortest_edge),
    "ResizeScaleOp": ({"min_scale", "max_scale", "target_height", "target_width"}, set(), _scale),
    "RandomCropOp": ({"crop_type", "crop_size"}, set(), _crop),
    "RandomRotationOp": ({"angle"}, {"expand", "sample_style"}, _rotation),
    "FixedSizeCropOp": ({"crop_size"}, set(), _fixed_crop),
}


def transform_of(text: str, usual: Sequence[dict[str, Any]], key: str) -> dict[str, Any]:
    """The recipe node of a transform, given as "Name::{arguments as JSON}".

    Args:
        text: entry of the list of transforms.
        usual: nodes of the transforms that the settings outside the list describe.
        key: name of the setting, for error messages.

    Raises:
        UnsupportedError: the arguments are not JSON, or there is no such transform with such arguments.
    """
    name, _, text_of_arguments = text.partition("::")
    try:
        arguments = json.loads(text_of_arguments) if text_of_arguments else {}
    except ValueError as error:
        raise UnsupportedError(key, "holds arguments that are no JSON", f"got {quoted(text)}") from error
    if name == "ResizeShortestEdgeOp" and not arguments:
        return next(each for each in usual if each["type"].endswith("ResizeShortestEdge"))
    needed, optional, build = _TRANSFORMS.get(name, (None, set(), dict))
    fix = "name the transform in the recipe that was imported without it; any callable will do"
    if needed is None or not isinstance(arguments, dict) or not needed <= arguments.keys() <= needed | optional:
        raise UnsupportedError(key, "names a transform that is not translated", f"got {quoted(text)}", fix)
    try:
        return build(arguments)
    except (TypeError, ValueError) as error:
        found = f"got {quoted(text)}: {error}"
        raise UnsupportedError(key, "has arguments that are not translated", found, fix) from error
