"""Any convolutional classification network of torchvision as a backbone, by its name."""

import copy
import math
from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
import torchvision
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import create_feature_extractor

from det_core.errors import ConfigError
from det_core.ops.layers import FrozenBatchNorm2d, freeze

__all__ = ["TorchvisionBackbone"]

_SIDE = 256  # side, in pixels, of the image that determines the strides
_STRIDES = (2, 4, 8, 16, 32)


class TorchvisionBackbone(fx.GraphModule):
    """The feature maps of a torchvision classification network: the last one of each stride.

    Levels are named "c" and the binary logarithm of the stride: c2 has stride 4. State-dict keys are torchvision's, so
    that published files fit; the classifier is dropped. Weights are random at first; a recipe loads others by
    `weights: {source: mobilenet_v2-b0353104.pth, into: backbone.bottom_up}`.

    Args:
        name: torchvision model name, such as "mobilenet_v2", "resnet18", "efficientnet_b0".
        strides: strides of the returned levels; layers after the last one are dropped.
        norm: "FrozenBN" for constant batch norms, which suits pretrained weights and small batches; "BN" for trained
            ones.
        freeze_at: number of strides excluded from training: 1 up to stride 2, 2 up to stride 4 ...
    """

    def __init__(
        self,
        name: str,
        *,
        strides: Sequence[int] = (4, 8, 16, 32),
        norm: Literal["FrozenBN", "BN"] = "FrozenBN",
        freeze_at: int = 0,
    ) -> None:
        network = _network(name)
        blocks = _blocks(network)
        last = {stride: block for block, (stride, _) in blocks.items()}
        if not strides or not set(strides) <= set(last):
            found = (
                f"{name} has feature maps of stride {', '.join(map(str, sorted(last))) or 'none'}, not {list(strides)}"
            )
            raise ConfigError("TorchvisionBackbone.strides", "must be strides that the network has", found)
        levels = {f"c{int(math.log2(stride))}": last[stride] for stride in sorted(set(strides))}
        body = create_feature_extractor(network, {block: level for level, block in levels.items()})
        super().__init__(body, body.eval_graph, type(self).__name__)
        self.channels = {level: blocks[block][1] for level, block in levels.items()}
        self.strides = {level: blocks[block][0] for level, block in levels.items()}
        self.size_divisibility = max(strides)
        if norm == "FrozenBN":
            FrozenBatchNorm2d.replace(self)
        present = dict(self.named_modules())
        for block in [b for b, (stride, _) in blocks.items() if stride <= 2**freeze_at and b in present]:
            parent, _, leaf = block.rpartition(".")
            setattr(self.get_submodule(parent), leaf, freeze(self.get_submodule(block)))
        self.train()

    def __deepcopy__(self, memo: dict[int, Any]) -> "TorchvisionBackbone":
        """A copy with its channels and strides, which a graph module would lose."""
        copied = cast(TorchvisionBackbone, super().__deepcopy__(memo))
        for name in ("channels", "strides", "size_divisibility"):
            setattr(copied, name, copy.copy(getattr(self, name)))
        return copied


def _network(name: str) -> nn.Module:
    if name not in torchvision.models.list_models(module=torchvision.models):
        raise ConfigError("TorchvisionBackbone.name", f"torchvision has no classification network {name!r}")
    with torch.device("cpu"):  # some constructors read tensor values, which the meta device lacks
        network = torchvision.models.get_model(name, weights=None)
    return network.to(torch.get_default_device())


def _blocks(network: nn.Module) -> dict[str, tuple[int, int]]:
    """Name -> (stride, channels) of the parts between feature maps, in order of execution."""
    shapes: dict[str, torch.Size] = {}
    probe = copy.deepcopy(network).to("meta").eval()
    for name, module in probe.named_modules():
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: (
                shapes.__setitem__(name, output.shape) if isinstance(output, Tensor) else None
            )
        )
    try:
        probe(torch.zeros(1, 3, _SIDE, _SIDE, device="meta"))
    except (AssertionError, RuntimeError, ValueError) as error:  # a network of one input size, such as a ViT
        where, problem = "TorchvisionBackbone.name", f"{type(network).__name__} does not accept images of any size"
        raise ConfigError(where, problem, str(error)) from error
    return _walk(probe, "", shapes)


def _walk(module: nn.Module, prefix: str, shapes: dict[str, torch.Size]) -> dict[str, tuple[int, int]]:
    blocks: dict[str, tuple[int, int]] = {}
    for child_name, child in module.named_children():
        name = prefix + child_name
        inside = _walk(child, f"{name}.", shapes) if type(child) is nn.Sequential else {}
        if len({stride for stride, _ in inside.values()}) > 2:
            blocks |= inside  # a sequence of stages, not one stage
        elif len(shape := shapes.get(name, torch.Size())) == 4:
            _, channels, height, width = shape
            if height == width and _SIDE / height in _STRIDES:
                blocks[name] = (_SIDE // height, channels)
    return blocks
