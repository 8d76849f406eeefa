"""Published files that are older than the names they are loaded under: small changes, each with a name of its own.

No heuristics: an upgrade applies only to files that it recognizes, and the load report names it.
Those for parts of single models belong to these parts, which are then `det_core.contracts.OlderWeights`.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from det_core.contracts import OlderWeights
from det_core.weights import torchvision_names

__all__ = ["upgraded"]

State = dict[str, Tensor]

# Blob names of Caffe2, after "_" has become ".", in the order of application.
_TABLE = Path(__file__).with_name("caffe2_names.json")
_BLOBS = [(re.compile(pattern), name) for pattern, name in json.loads(_TABLE.read_text("utf-8"))]
_IS_CAFFE2 = re.compile(r"^(conv1|res\d_\d+_branch\w+)_(w|b|bn_s|gn_s)$")
_STORED = re.compile(r"(^|\.)(pixel_mean|pixel_std|anchor_generator\.cell_anchors\.\d+)$")
# What DistributedDataParallel, torch.compile and Lightning modules put before the names of what they hold.
_WRAPPED = ("module.", "_orig_mod.", "model.")
# A frozen batch norm divides by sqrt(variance + 1e-5): with this variance it changes nothing.
_NEUTRAL = {"running_mean": 0.0, "running_var": 1.0 - 1e-5}


def upgraded(state: Mapping[str, Tensor], model: nn.Module) -> tuple[State, list[str]]:
    """A state dict, as it was read, under the names of the model, and which upgrades it took."""
    model_state = model.state_dict()
    current, applied = dict(state), []
    while prefix := next((each for each in _WRAPPED if current and all(key.startswith(each) for key in current)), ""):
        if any(key.startswith(prefix) for key in model_state):
            break
        current = {key.removeprefix(prefix): value for key, value in current.items()}
        applied.append(f"{prefix!r} before all names")
    for path, part in model.named_modules():
        if isinstance(part, OlderWeights) and (done := part.older_weights(current, path)):
            applied.append(done[0])
            current = done[1]
    for name, upgrade in (
        ("Caffe2 blob names", _caffe2_names),
        ("torchvision's names of residual networks", torchvision_names.of_classifiers),
        ("torchvision's names of detectors", torchvision_names.of_detectors),
        ("stored buffers", _stored_buffers),
        ("absent statistics of frozen batch norms", _absent_statistics),
    ):
        changed = upgrade(current, model_state)
        if changed is not None:
            current = changed
            applied.append(name)
    return current, applied


def _caffe2_names(state: State, model_state: Mapping[str, Tensor]) -> State | None:
    """Blobs of the ImageNet and Detectron files; each takes the place in the model whose name ends like its own."""
    if not any(map(_IS_CAFFE2.match, state)):
        return None
    endings: dict[str, list[str]] = {}
    for key in model_state:
        parts = key.split(".")
        for start in range(len(parts)):
            endings.setdefault(".".join(parts[start:]), []).append(key)
    renamed: State = {}
    for blob, tensor in state.items():
        name = blob.replace("_", ".")
        for pattern, ours in _BLOBS:
            name = pattern.sub(ours, name)
        places = endings.get(name, [])
        renamed[places[0] if len(places) == 1 else name] = _background_last(name, tensor)
    return renamed


def _background_last(name: str, tensor: Tensor) -> Tensor:
    """Caffe2 counts the background as class 0, and predicts boxes and masks for it too."""
    if name.startswith("box_predictor.cls_score."):
        return torch.cat((tensor[1:], tensor[:1]))
    if name.startswith("box_predictor.bbox_pred."):
        return tensor[4:]
    return tensor[1:] if name.startswith("mask_head.predictor.") else tensor


def _stored_buffers(state: State, model_state: Mapping[str, Tensor]) -> State | None:
    """Constants that older models kept among their weights; recipes have them now."""
    stored = [key for key in state if key not in model_state and _STORED.search(key)]
    return {key: value for key, value in state.items() if key not in stored} if stored else None


def _absent_statistics(state: State, model_state: Mapping[str, Tensor]) -> State | None:
    """Batch norms that were merged into a scale and a shift have no statistics."""
    added = {}
    for key, value in model_state.items():
        layer, _, kind = key.rpartition(".")
        if kind in _NEUTRAL and key not in state and f"{layer}.weight" in state:
            added[key] = torch.full_like(value, _NEUTRAL[kind], device="cpu")
    # A file that has some statistics has lost the others.
    some = any(key.rpartition(".")[2] in _NEUTRAL for key in state)
    return {**state, **added} if added and not some else None
