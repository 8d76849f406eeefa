"""A copy of a model that computes the same, for prediction alone, in less time."""

import copy
from collections import Counter
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from det_core.contracts import SegmentMaker
from det_core.engine.compilation import compile_networks
from det_core.engine.evaluate import Precision, autocast
from det_core.models.parts.nms import NMS
from det_core.ops.layers import Conv2d, FrozenBatchNorm2d
from det_core.structures import ImageBatch, Prediction

__all__ = ["Optimized", "fold_norms", "optimize"]

_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, FrozenBatchNorm2d)


def optimize(
    model: nn.Module,
    *,
    fold: bool = True,
    channels_last: bool = True,
    precision: Literal["fp32", "bf16"] = "fp32",
    compiled: bool = False,
    threshold: float = 0.0,
) -> nn.Module:
    """A copy of `model` for prediction; the model itself keeps its weights, and its keys.

    Args:
        model: computes predictions; a copy that this has made before can be given again.
        fold: multiply batch norms into the convolutions before them, see `fold_norms`.
        channels_last: keep the channels of each pixel side by side in memory, which convolutions like.
        precision: "bf16" keeps the weights of convolutions and linear layers in bfloat16, and computes under autocast:
            scores move in the third digit.
        compiled: let `torch.compile` translate the networks, at their first call; on a CPU that needs a C++ compiler.
        threshold: minimum score of a detection, in [0, 1]: masks and keypoints of the others are not computed. Models
            that merge detections into segments ignore it.
    """
    model = copy.deepcopy(model.model if isinstance(model, Optimized) else model).eval()
    if fold:
        fold_norms(model)
    if not isinstance(model, SegmentMaker):
        raise_score_threshold(model, threshold)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    if compiled:
        compile_networks(model)
    if precision == "bf16":
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                module.to(torch.bfloat16)
    return Optimized(model, precision) if compiled or precision == "bf16" else model


class Optimized(nn.Module):
    """Runs a model at a precision; hides its parts, as a hook on one that is compiled would have it compiled again.

    Args:
        model: model in evaluation mode, its layers in the precision already.
        precision: "bf16" runs the model under autocast.
    """

    def __init__(self, model: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.model, self.precision = model, precision
        if isinstance(model, SegmentMaker):
            self.with_segments = model.with_segments

    def forward(self, batch: ImageBatch) -> list[Prediction]:
        """What the model predicts."""
        with autocast(batch.pixels.device, self.precision):
            predictions: list[Prediction] = self.model(batch)
        return predictions


def raise_score_threshold(model: nn.Module, threshold: float) -> None:
    """Let the parts of `model` that select detections drop those below `threshold`, in place."""
    below = float(torch.nextafter(torch.tensor(threshold), torch.tensor(0.0)))  # theirs is exclusive
    for module in model.modules():
        if isinstance(nms := vars(module).get("nms"), NMS):
            module.nms = replace(nms, score_threshold=max(nms.score_threshold, below))  # type: ignore[assignment]


@torch.no_grad()
def fold_norms(model: nn.Module) -> int:
    """Multiply the batch norms of `model` into the convolutions before them, in place; returns how many.

    They are the norms of our own convolutions, and those that `torch.fx` sees follow a convolution whose output nothing
    else reads. What it cannot trace stays as it is, and so do norms that depend on their input (GroupNorm).
    """
    # A layer that stands in two places may have a norm behind it in one of them alone.
    places = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    count, parts = 0, list(model.modules())
    for module in parts:
        if type(module) is Conv2d and _is_constant(module.norm):
            _fold(module, module.norm)
            module.norm = None
            count += 1
    for module in parts:
        graph = _graph(module)
        for conv, norm in _pairs(module, graph) if graph else ():
            before, after = module.get_submodule(conv), module.get_submodule(norm)
            if places[id(before)] == places[id(after)] == 1:
                _fold(before, after)
                module.set_submodule(norm, nn.Identity())
                count += 1
    return count


def _is_constant(norm: nn.Module | None) -> bool:
    """Whether a norm does to all inputs the same; subclasses may do something else."""
    return type(norm) in _NORMS and getattr(norm, "running_mean", None) is not None


def _fold(conv: nn.Module, norm: nn.Module | None) -> None:
    statistics: tuple[Tensor, Tensor] = (norm.running_mean, norm.running_var)  # type: ignore[assignment, union-attr]
    weight, bias = fuse_conv_bn_weights(
        conv.weight,  # type: ignore[arg-type]
        conv.bias,  # type: ignore[arg-type]
        *statistics,
        norm.eps,  # type: ignore[arg-type, union-attr]
        norm.weight,  # type: ignore[arg-type, union-attr]
        norm.bias,  # type: ignore[arg-type, union-attr]
    )
    conv.weight, conv.bias = weight.requires_grad_(False), bias.requires_grad_(False)


class _Shallow(fx.Tracer):
    """Sees the calls of a module's own children, and nothing within them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def _graph(module: nn.Module) -> fx.Graph | None:
    """The calls that a module makes; None where there is no norm to fold, or its course depends on what it is given."""
    if isinstance(module, fx.GraphModule):
        return module.graph
    if not any(_is_constant(child) for child in module.children()):
        return None
    try:
        return _Shallow().trace(module)
    except Exception:  # whatever the module's own code does with what stands for a tensor
        return None


def _pairs(module: nn.Module, graph: fx.Graph) -> list[tuple[str, str]]:
    """The names of convolutions and of the constant norms that alone read their outputs."""
    calls = [node for node in graph.nodes if node.op == "call_module"]
    times = Counter(node.target for node in calls)
    pairs = []
    for node in calls:
        before = node.args[0] if node.args else None
        if isinstance(before, fx.Node) and before.op == "call_module" and len(before.users) == 1:
            conv, norm = str(before.target), str(node.target)
            plain = type(module.get_submodule(conv)) is nn.Conv2d and _is_constant(module.get_submodule(norm))
            if plain and times[conv] == times[norm] == 1:
                pairs.append((conv, norm))
    return pairs
