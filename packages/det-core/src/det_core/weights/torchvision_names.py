"""torchvision's names: those of its residual networks, which timm shares, and those of its detectors.

Its detectors count the background as class 0, and COCO's classes by their numbers in the annotations, ten of which are
unused. Ours are without these.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from det_core.zoo.class_names import COCO_CATEGORY_IDS

__all__ = ["of_classifiers", "of_detectors"]

State = dict[str, Tensor]

# [pattern, name]; in a name, {+1} is the number in the pattern plus one, {/2+1} half of it plus one. Files from before
# 2022 have single layers where later ones have a layer and its norm.
_TABLES = json.loads(Path(__file__).with_name("torchvision_names.json").read_text("utf-8"))
_RESNET, _HEADS = _TABLES["resnet"], _TABLES["heads"]


def of_classifiers(state: Mapping[str, Tensor], model_state: Mapping[str, Tensor]) -> State | None:
    """The weights of a residual network; None if they are others, or the model has them under the same names."""
    if "layer1.0.conv1.weight" not in state or "stem.conv1.weight" not in model_state:
        return None
    return {_renamed(key, _RESNET): value for key, value in state.items()}


def of_detectors(state: Mapping[str, Tensor], model_state: Mapping[str, Tensor]) -> State | None:
    """The weights of a detector with a residual network and a pyramid; None if they are others."""
    if "backbone.body.conv1.weight" not in state:
        return None
    pyramid = [int(match[1]) for match in map(re.compile(r"backbone\.fpn\.inner_blocks\.(\d)\.").match, state) if match]
    finest = 5 - max(pyramid, default=3)  # the coarsest level always has stride 32
    deep = "rpn.head.conv.1.0.weight" in state
    norms = "head.classification_head.conv.0.1.weight" in state
    renamed: State = {}
    for key, value in state.items():
        if key.startswith("backbone.body."):
            name = "backbone.bottom_up." + _renamed(key.removeprefix("backbone.body."), _RESNET)
        elif key.startswith("backbone.fpn.") and "extra_blocks" not in key:
            name = _of_pyramid(key, finest)
        elif deep and key.startswith("rpn.head.conv."):
            name = re.sub(r"^rpn\.head\.conv\.(\d)\.0\.", r"proposal_generator.rpn_head.conv.conv\1.", key)
        else:
            name = _of_tower(_renamed(key, _HEADS), norms)
        renamed[name] = _without_background(name, value, model_state)
    if norms:  # whose towers then have no biases, where ours have
        absent = [key for key in model_state if "_subnet." in key and key.endswith(".bias") and key not in renamed]
        renamed |= {key: torch.zeros_like(model_state[key], device="cpu") for key in absent}
    return renamed


def _renamed(key: str, names: Sequence[tuple[str, str]]) -> str:
    for pattern, name in names:
        if match := re.search(pattern, key):
            number = int(match[1]) if "{" in name else 0
            key = re.sub(pattern, name.replace("{+1}", str(number + 1)).replace("{/2+1}", str(number // 2 + 1)), key)
    return key


def _of_pyramid(key: str, finest: int) -> str:
    """`inner_blocks.0.0.weight`, or `inner_blocks.0.weight` in older files; `inner_blocks.0.1` is a norm."""
    match = re.fullmatch(r"backbone\.fpn\.(inner|layer)_blocks\.(\d)(?:\.([01]))?\.(\w+)", key)
    if match is None:
        return key
    part = "lateral" if match[1] == "inner" else "output"
    norm = "norm." if match[3] == "1" else ""
    return f"backbone.fpn_{part}{finest + int(match[2])}.{norm}{match[4]}"


def _of_tower(key: str, norms: bool) -> str:
    """Towers are one row of layers: convolution, perhaps norm, ReLU; later files have each of these in a group."""
    step = 3 if norms else 2
    return re.sub(r"_subnet\.(\d+)\.([01])\.", lambda m: f"_subnet.{step * int(m[1]) + int(m[2])}.", key)


def _without_background(name: str, value: Tensor, model_state: Mapping[str, Tensor]) -> Tensor:
    """The rows of the classes, the background last where there is one."""
    if name not in model_state:
        return value
    if name.startswith("roi_heads.box_predictor.cls_score."):
        order = _classes(len(value), len(model_state[name]) - 1)
        return value[[*order, 0]]
    if name.startswith("roi_heads.box_predictor.bbox_pred."):
        return value.unflatten(0, (-1, 4))[_classes(len(value) // 4, len(model_state[name]) // 4)].flatten(0, 1)
    if name.startswith("roi_heads.mask_head.predictor."):
        return value[_classes(len(value), len(model_state[name]))]
    if name.startswith(("head.cls_score.", "head.bbox_pred.")):
        return _per_anchor(name, value, model_state)
    return value


def _classes(theirs: int, ours: int) -> list[int]:
    """The numbers of their classes that we have: of COCO's 91 the 80 in use, otherwise all but the background."""
    return list(COCO_CATEGORY_IDS) if (theirs, ours) == (91, 80) else list(range(1, theirs))


def _per_anchor(name: str, value: Tensor, model_state: Mapping[str, Tensor]) -> Tensor:
    """Rows of the last layer of a one-stage head, which are anchor by anchor; theirs go by shape, then by size."""
    anchors = len(model_state["head.bbox_pred.bias"]) // 4
    if len(value) % anchors:
        return value
    rows = value.unflatten(0, (anchors, -1))
    if name.startswith("head.cls_score."):
        rows = rows[:, _classes(rows.shape[1], len(model_state[name]) // anchors)]
    if anchors == 9:  # three shapes of three sizes
        rows = rows.unflatten(0, (3, 3)).transpose(0, 1).flatten(0, 1)
    return torch.clone(rows.flatten(0, 1))
