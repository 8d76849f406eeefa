"""ResNet with a multi-branch stage (Li et al., "Scale-aware trident networks", 2019)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from det_core.backbones import ResNet
from det_core.errors import ConfigError
from det_core.ops.layers import Norm
from det_core.ops.resnet_blocks import BottleneckBlock
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Branches", "TridentResNet"]

_STAGES = ("res2", "res3", "res4", "res5")


@dataclass(frozen=True)
class Branches:
    """The branches of a stage.

    Attributes:
        dilations: dilation of the 3 x 3 convolutions of the stage, one per branch.
        stage: name of the stage with branches, such as "res4".
        branch: index, from 0, of the branch to run where the caller requests none.
    """

    dilations: Sequence[int] = (1, 2, 3)
    stage: Literal["res2", "res3", "res4", "res5"] = "res4"
    branch: int = 1


class TridentResNet(nn.Module):
    """A ResNet with one stage that runs in several branches, which share weights and differ in dilation.

    Under any other model it is a ResNet with that stage dilated as in the default branch; `trident_rcnn` requests the
    branches it needs. State-dict keys are those of `ResNet`.

    Args:
        depth: number of layers: 50, 101 or 152.
        branches: stage with branches, and the dilation of each branch.
        out_features: returned stages; see `ResNet`, as for all arguments below.
        norm: norm layer of every convolution.
        freeze_at: number of stages excluded from training, counted from the stem.
        stride_in_1x1: whether the stride is in the first 1 x 1 convolution; see `BottleneckBlock`.
        groups: groups of the 3 x 3 convolutions (ResNeXt).
        width_per_group: channels per group in res2, doubled each stage.
        res2_channels: output channels of res2, doubled each stage.
        stem_channels: output channels of the stem.
        res5_dilation: 2 to keep res5 at stride 16 and dilate instead.
    """

    def __init__(
        self,
        depth: Literal[50, 101, 152] = 50,
        *,
        branches: Branches = Branches(),
        out_features: Sequence[str] = ("res4",),
        norm: Norm = "FrozenBN",
        freeze_at: int = 2,
        stride_in_1x1: bool = True,
        groups: int = 1,
        width_per_group: int = 64,
        res2_channels: int | None = None,
        stem_channels: int = 64,
        res5_dilation: Literal[1, 2] = 1,
    ) -> None:
        super().__init__()
        network = ResNet(
            depth,
            out_features=out_features,
            norm=norm,
            freeze_at=freeze_at,
            stride_in_1x1=stride_in_1x1,
            groups=groups,
            width_per_group=width_per_group,
            res2_channels=res2_channels,
            stem_channels=stem_channels,
            res5_dilation=res5_dilation,
        )
        self.dilations, self.stage, self.branch = tuple(branches.dilations), branches.stage, branches.branch
        self._check(network, out_features)
        self.channels, self.strides = network.channels, network.strides
        self.size_divisibility = network.size_divisibility
        for name, part in network.named_children():
            self.add_module(name, part)
        self._stages = tuple(name for name in _STAGES if hasattr(self, name))

    def _check(self, network: nn.Module, out_features: Sequence[str]) -> None:
        if not self.dilations or min(self.dilations) < 1:
            found = f"got {list(self.dilations)}"
            raise ConfigError("TridentResNet.branches.dilations", "must be at least 1, one for each branch", found)
        if not 0 <= self.branch < len(self.dilations):
            found = f"got {self.branch} with {len(self.dilations)} branches"
            raise ConfigError("TridentResNet.branches.branch", "must be one of the branches, counted from 0", found)
        if not hasattr(network, self.stage):
            found = f"got {self.stage} with out_features {list(out_features)}"
            raise ConfigError("TridentResNet.branches.stage", "must not come after all out_features", found)
        if any(name < self.stage for name in out_features):
            found = f"got {list(out_features)} with branches in {self.stage}"
            problem = "must not come before the stage with branches, which multiplies the batch"
            raise ConfigError("TridentResNet.out_features", problem, found)

    def forward(self, pixels: Tensor, branches: Sequence[int] | None = None) -> dict[str, Tensor]:
        """(B, 3, H, W) to {stage: (K B, channels, ceil(H / stride), ceil(W / stride))}.

        K is the number of `branches`; their features are concatenated along the batch, all images of a branch together.
        Without `branches` the default branch runs alone, and K is 1.
        """
        features, x = {}, self.get_submodule("stem")(pixels)
        for name in self._stages:
            blocks = cast(nn.Sequential, self.get_submodule(name))
            if name == self.stage:
                x = torch.cat([self._run(blocks, x, self.dilations[i]) for i in branches or (self.branch,)])
            else:
                x = blocks(x)
            if name in self.channels:
                features[name] = x
        return features

    @staticmethod
    def _run(blocks: nn.Sequential, x: Tensor, dilation: int) -> Tensor:
        """Output of the blocks with their 3 x 3 convolutions dilated by `dilation`."""
        for block in cast(Iterable[BottleneckBlock], blocks):
            conv, middle = block.conv2, block.conv1(x)
            middle = F.conv2d(middle, conv.weight, conv.bias, conv.stride, dilation, dilation, conv.groups)
            out = block.conv3(conv.finish(middle))
            x = F.relu_(out + (x if block.shortcut is None else block.shortcut(x)))
        return x
