"""Placeholders for required arguments: small components that do their job."""

import types
import typing
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from det_core.contracts import Backbone, BoxHead, DenseHead, Model, Pooler, ProposalGenerator, ROIHeads
from det_core.models import (
    RPN,
    FastRCNNConvFCHead,
    ProposalNetwork,
    RetinaNetHead,
    ROIPooler,
    StandardROIHeads,
    TowerLayers,
)
from det_core.recipes import Factory
from det_core.recipes.construct import kind_of
from det_core.recipes.signatures import unwrapped
from torch import Tensor, nn
from torch.nn import functional as F

from det_devkit.conformance.synthetic import CLASSES

__all__ = ["CHANNELS", "STRIDES", "Pyramid", "placeholder"]

STRIDES: Mapping[str, int] = {f"p{level}": 2**level for level in range(2, 7)}
CHANNELS: Mapping[str, int] = dict.fromkeys(STRIDES, 32)


class Pyramid(nn.Module):
    """A backbone of five convolutions, with the levels p2 to p6 of 32 channels each, like a feature pyramid."""

    def __init__(self) -> None:
        super().__init__()
        self.channels: Mapping[str, int] = dict(CHANNELS)
        self.strides: Mapping[str, int] = dict(STRIDES)
        self.size_divisibility = 32
        self.stem = nn.Conv2d(3, CHANNELS["p2"], 7, stride=4, padding=3)
        self.stages = nn.ModuleList(nn.Conv2d(32, 32, 3, stride=2, padding=1) for _ in range(len(STRIDES) - 1))

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {"p2": (B, 32, H / 4, W / 4), ...}."""
        levels = [F.relu(self.stem(pixels))]
        for stage in self.stages:
            levels.append(F.relu(stage(levels[-1])))
        return dict(zip(self.strides, levels, strict=True))


def _second_stage() -> Factory[ROIHeads]:
    return Factory(StandardROIHeads, box_head=Factory(FastRCNNConvFCHead, fc_dim=32))


_BY_CONTRACT: Mapping[Any, Callable[[], Any]] = {
    Backbone: Pyramid,
    BoxHead: partial(FastRCNNConvFCHead, 32, 7, fc_dim=32),
    ProposalGenerator: partial(RPN, CHANNELS, STRIDES),
    ROIHeads: lambda: _second_stage()(channels=CHANNELS, strides=STRIDES, num_classes=len(CLASSES)),
    Model: lambda: ProposalNetwork(Pyramid()),
}
_UNBUILT: Mapping[Any, Callable[[], Any]] = {
    Backbone: lambda: Factory(Pyramid),
    BoxHead: lambda: Factory(FastRCNNConvFCHead, fc_dim=32),
    DenseHead: lambda: Factory(RetinaNetHead, tower=TowerLayers(conv_dims=(-1,))),
    Pooler: lambda: Factory(ROIPooler, resolution=7),
    ProposalGenerator: lambda: Factory(RPN),
    ROIHeads: _second_stage,
}
_BY_NAME: Mapping[str, Any] = {
    "channels": CHANNELS,
    "strides": STRIDES,
    "num_classes": len(CLASSES),
    "classes": CLASSES,
    "in_channels": 32,
    "divisibility": 32,
    "in_dim": 32,
    "resolution": 7,
}


def placeholder(name: str, annotation: Any) -> Callable[[], Any] | None:
    """A function that makes a value for an argument without default; None if the kit has none."""
    plain = unwrapped(annotation)
    members = [member for member in typing.get_args(plain) if member is not types.NoneType]
    if typing.get_origin(plain) in (typing.Union, types.UnionType) and len(members) == 1:
        return placeholder(name, members[0])
    if typing.get_origin(plain) is Factory and members:
        return _UNBUILT.get(unwrapped(members[0]))
    if kind_of(plain):
        return _BY_CONTRACT.get(plain)
    return (lambda: _BY_NAME[name]) if name in _BY_NAME else None
