"""Residual networks (He et al., 2016), as `detectron2.modeling.backbone.resnet`."""

from collections.abc import Sequence
from typing import Any

import torch
from det_core.ops.layers import draw_weights, freeze
from torch import Tensor, nn
from torch.nn import functional as F

from det_detectron2.layer.layers import (
    CNNBlockBase,
    Conv2d,
    DeformConv,
    ModulatedDeformConv,
    ShapeSpec,
    get_norm,
)
from det_detectron2.layer.modeling.backbone.backbone import Backbone
from det_detectron2.layer.modeling.backbone.build import BACKBONE_REGISTRY

__all__ = [
    "BasicBlock",
    "BasicStem",
    "BottleneckBlock",
    "DeformBottleneckBlock",
    "ResNet",
    "ResNetBlockBase",
    "build_resnet_backbone",
    "make_stage",
]

ResNetBlockBase = CNNBlockBase


def _conv(channels: int, out: int, size: int, norm: Any, **options: Any) -> Conv2d:
    return Conv2d(channels, out, kernel_size=size, bias=False, norm=get_norm(norm, out), **options)


class BasicBlock(CNNBlockBase):
    """Two 3 x 3 convolutions and a shortcut.

    Args:
        in_channels: number of channels of the input.
        out_channels: number of channels of the output.
        stride: stride of the first convolution.
        norm: kind of norm of all convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, norm: Any = "BN") -> None:
        super().__init__(in_channels, out_channels, stride)
        same = in_channels == out_channels
        self.shortcut = None if same else _conv(in_channels, out_channels, 1, norm, stride=stride)
        self.conv1 = _conv(in_channels, out_channels, 3, norm, stride=stride, padding=1)
        self.conv2 = _conv(out_channels, out_channels, 3, norm, stride=1, padding=1)
        for layer in (self.conv1, self.conv2, self.shortcut):
            if layer is not None:
                draw_weights(layer, "relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        out = self.conv2(F.relu_(self.conv1(x)))
        return F.relu_(out + (x if self.shortcut is None else self.shortcut(x)))


class BottleneckBlock(CNNBlockBase):
    """1 x 1, 3 x 3 and 1 x 1 convolutions and a shortcut.

    Args:
        in_channels: number of channels of the input.
        out_channels: number of channels of the output.
        bottleneck_channels: number of channels of the middle.
        stride: stride of the block.
        num_groups: number of groups of the 3 x 3 convolution.
        norm: kind of norm of all convolutions.
        stride_in_1x1: whether the first (1 x 1) convolution has the stride instead of the 3 x 3 one.
        dilation: dilation of the 3 x 3 convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bottleneck_channels: int,
        stride: int = 1,
        num_groups: int = 1,
        norm: Any = "BN",
        stride_in_1x1: bool = False,
        dilation: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, stride)
        same = in_channels == out_channels
        self.shortcut = None if same else _conv(in_channels, out_channels, 1, norm, stride=stride)
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        middle = bottleneck_channels
        form = {"stride": second, "padding": dilation, "groups": num_groups, "dilation": dilation}
        self.conv1 = _conv(in_channels, middle, 1, norm, stride=first)
        self.conv2 = self._middle(middle, norm, form)
        self.conv3 = _conv(middle, out_channels, 1, norm)
        for layer in (self.conv1, self.conv2, self.conv3, self.shortcut):
            if layer is not None:
                draw_weights(layer, "relu")

    def _middle(self, channels: int, norm: Any, form: dict[str, int]) -> nn.Module:
        return _conv(channels, channels, 3, norm, **form)

    def _convolved(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        out = F.relu_(self.conv1(x))
        out = F.relu_(self._convolved(out))
        out = self.conv3(out)
        return F.relu_(out + (x if self.shortcut is None else self.shortcut(x)))


class DeformBottleneckBlock(BottleneckBlock):
    """A bottleneck whose 3 x 3 convolution is deformable.

    Args:
        args: positional arguments of `BottleneckBlock`.
        deform_modulated: whether to use modulated deformable convolution (DCNv2).
        deform_num_groups: number of offset groups.
        kwargs: keyword arguments of `BottleneckBlock`.
    """

    def __init__(self, *args: Any, deform_modulated: bool = False, deform_num_groups: int = 1, **kwargs: Any) -> None:
        self.__dict__["_deform"] = (deform_modulated, deform_num_groups)
        super().__init__(*args, **kwargs)
        self.deform_modulated = deform_modulated
        channels, stride = self.conv2.in_channels, self.conv2.stride
        dilation = self.conv2.dilation
        count = (27 if deform_modulated else 18) * deform_num_groups
        self.conv2_offset = Conv2d(channels, count, 3, stride=stride, padding=dilation, dilation=dilation)
        nn.init.zeros_(self.conv2_offset.weight)
        nn.init.zeros_(self.conv2_offset.bias)  # type: ignore[arg-type]

    def _middle(self, channels: int, norm: Any, form: dict[str, int]) -> nn.Module:
        modulated, groups = self.__dict__["_deform"]
        kind = ModulatedDeformConv if modulated else DeformConv
        return kind(
            channels,
            channels,
            kernel_size=3,
            bias=False,
            deformable_groups=groups,
            norm=get_norm(norm, channels),
            **form,
        )

    def _convolved(self, x: Tensor) -> Tensor:
        moved = self.conv2_offset(x)
        if not self.deform_modulated:
            out: Tensor = self.conv2(x, moved)
            return out
        across, down, mask = torch.chunk(moved, 3, dim=1)
        out = self.conv2(x, torch.cat((across, down), dim=1), mask.sigmoid())
        return out  # noqa: RET504 (its type)


class BasicStem(CNNBlockBase):
    """A 7 x 7 convolution and a pooling, each of stride 2.

    Args:
        in_channels: number of channels of the images.
        out_channels: number of channels of the output.
        norm: kind of norm of the convolution.
    """

    def __init__(self, in_channels: int = 3, out_channels: int = 64, norm: Any = "BN") -> None:
        super().__init__(in_channels, out_channels, 4)
        self.conv1 = _conv(in_channels, out_channels, 7, norm, stride=2, padding=3)
        draw_weights(self.conv1, "relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H / 4, W / 4)."""
        return F.max_pool2d(F.relu_(self.conv1(x)), kernel_size=3, stride=2, padding=1)


class ResNet(Backbone):
    """A stem and stages "res2", "res3", ...

    Args:
        stem: stem module.
        stages: list of blocks of each stage, such as from `make_stage`.
        num_classes: number of classes of the final classifier "linear"; None for no classifier.
        out_features: names of the returned outputs among "stem", "res2", ..., "linear"; by default the last.
        freeze_at: number of frozen stages, counting the stem as the first; 0 for none.
    """

    def __init__(
        self,
        stem: CNNBlockBase,
        stages: Sequence[Sequence[CNNBlockBase]],
        num_classes: int | None = None,
        out_features: Sequence[str] | None = None,
        freeze_at: int = 0,
    ) -> None:
        super().__init__()
        self.stem, self.num_classes = stem, num_classes
        stride, channels = stem.stride, stem.out_channels
        self._out_feature_strides, self._out_feature_channels = {"stem": stride}, {"stem": channels}
        self.stage_names: tuple[str, ...] = ()
        self.stages: list[nn.Module] = []
        last = max(
            ({"res2": 1, "res3": 2, "res4": 3, "res5": 4}.get(each, 0) for each in out_features or ()), default=0
        )
        retained = stages[:last] if out_features is not None and "linear" not in out_features else stages
        for place, blocks in enumerate(retained):
            assert len(blocks) > 0, len(blocks)
            name, stage = f"res{place + 2}", nn.Sequential(*blocks)
            self.add_module(name, stage)
            self.stage_names += (name,)
            self.stages.append(stage)
            for block in blocks:
                stride *= block.stride
            channels = blocks[-1].out_channels
            self._out_feature_strides[name], self._out_feature_channels[name] = stride, channels
        name = self.stage_names[-1] if self.stage_names else "stem"
        if num_classes is not None:
            self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
            self.linear = nn.Linear(channels, num_classes)
            nn.init.normal_(self.linear.weight, std=0.01)
            name = "linear"
        self._out_features = [name] if out_features is None else list(out_features)
        there = [each for each, _ in self.named_children()]
        for each in self._out_features:
            assert each in there, f"Available children: {', '.join(there)}; not {each}"
        self.freeze(freeze_at)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images (N, C, H, W) to feature maps by name."""
        assert x.dim() == 4, f"ResNet takes an input of shape (N, C, H, W). Got {x.shape} instead!"
        outputs = {}
        x = self.stem(x)
        if "stem" in self._out_features:
            outputs["stem"] = x
        for name, stage in zip(self.stage_names, self.stages, strict=True):
            x = stage(x)
            if name in self._out_features:
                outputs[name] = x
        if self.num_classes is not None:
            x = self.linear(torch.flatten(self.avgpool(x), 1))
            if "linear" in self._out_features:
                outputs["linear"] = x
        return outputs

    def freeze(self, freeze_at: int = 0) -> "ResNet":
        """Keep the weights of the first of stem and stages as they are."""
        if freeze_at >= 1:
            self.stem.freeze()
        for place, stage in enumerate(self.stages, start=2):
            if freeze_at >= place:
                for block in stage.children():
                    block.freeze() if isinstance(block, CNNBlockBase) else freeze(block)
        return self

    @staticmethod
    def make_stage(
        block_class: type[CNNBlockBase], num_blocks: int, *, in_channels: int, out_channels: int, **kwargs: Any
    ) -> list[CNNBlockBase]:
        """Blocks of one stage.

        Args:
            block_class: class of the blocks.
            num_blocks: number of blocks.
            in_channels: number of input channels of the first block.
            out_channels: number of output channels of all blocks.
            kwargs: arguments of `block_class`; NAME_per_block gives one per block, `stride` is for the first block.
        """
        blocks = []
        for place in range(num_blocks):
            current: dict[str, Any] = {}
            for name, value in kwargs.items():
                if name.endswith("_per_block"):
                    assert len(value) == num_blocks, (
                        f"Argument '{name}' should have the same length as num_blocks={num_blocks}."
                    )
                    single = name.removesuffix("_per_block")
                    assert single not in kwargs, f"Cannot call make_stage with both {single} and {name}!"
                    current[single] = value[place]
                else:
                    current[name] = value
            if "stride" in current and "stride_per_block" not in kwargs and place > 0:
                current["stride"] = 1
            blocks.append(block_class(in_channels=in_channels, out_channels=out_channels, **current))
            in_channels = out_channels
        return blocks

    @staticmethod
    def make_default_stages(
        depth: int, block_class: type[CNNBlockBase] | None = None, **kwargs: Any
    ) -> list[list[CNNBlockBase]]:
        """The four stages of a published network.

        Args:
            depth: depth of the network: 18, 34, 50, 101 or 152.
            block_class: class of the blocks; by default `BasicBlock` up to depth 34, `BottleneckBlock` above.
            kwargs: arguments of `block_class`.
        """
        counts = _DEPTHS[depth]
        small = depth < 50
        block_class = (BasicBlock if small else BottleneckBlock) if block_class is None else block_class
        ins = (64, 64, 128, 256) if small else (64, 256, 512, 1024)
        outs = (64, 128, 256, 512) if small else (256, 512, 1024, 2048)
        stages = []
        for count, stride, first, out in zip(counts, (1, 2, 2, 2), ins, outs, strict=True):
            current = dict(kwargs)
            if not small:
                current["bottleneck_channels"] = out // 4
            strides = [stride] + [1] * (count - 1)
            stages.append(
                ResNet.make_stage(
                    block_class, count, stride_per_block=strides, in_channels=first, out_channels=out, **current
                )
            )
        return stages


_DEPTHS = {
    18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)
}  # fmt: skip


def make_stage(*args: Any, **kwargs: Any) -> list[CNNBlockBase]:
    """`ResNet.make_stage`, by its earlier name."""
    return ResNet.make_stage(*args, **kwargs)


@BACKBONE_REGISTRY.register()
def build_resnet_backbone(cfg: Any, input_shape: ShapeSpec) -> ResNet:
    """The network that MODEL.RESNETS describes."""
    current, norm = cfg.MODEL.RESNETS, cfg.MODEL.RESNETS.NORM
    stem = BasicStem(in_channels=input_shape.channels or 3, out_channels=current.STEM_OUT_CHANNELS, norm=norm)
    depth, dilation = current.DEPTH, current.RES5_DILATION
    assert dilation in (1, 2), f"res5_dilation cannot be {dilation}."
    if depth in (18, 34):
        assert current.RES2_OUT_CHANNELS == 64, "Must set MODEL.RESNETS.RES2_OUT_CHANNELS = 64 for R18/R34"
        assert not any(current.DEFORM_ON_PER_STAGE), "MODEL.RESNETS.DEFORM_ON_PER_STAGE unsupported for R18/R34"
        assert dilation == 1, "Must set MODEL.RESNETS.RES5_DILATION = 1 for R18/R34"
        assert current.NUM_GROUPS == 1, "Must set MODEL.RESNETS.NUM_GROUPS = 1 for R18/R34"
    in_channels, out_channels = current.STEM_OUT_CHANNELS, current.RES2_OUT_CHANNELS
    bottleneck = current.NUM_GROUPS * current.WIDTH_PER_GROUP
    stages = []
    for place, count in enumerate(_DEPTHS[depth]):
        wide = dilation if place == 3 else 1
        first = 1 if place == 0 or (place == 3 and wide == 2) else 2
        options: dict[str, Any] = {"stride_per_block": [first] + [1] * (count - 1), "norm": norm}
        block: type[CNNBlockBase] = BasicBlock
        if depth >= 50:
            options |= {"bottleneck_channels": bottleneck, "num_groups": current.NUM_GROUPS}
            options |= {"stride_in_1x1": current.STRIDE_IN_1X1, "dilation": wide}
            block = BottleneckBlock
            if current.DEFORM_ON_PER_STAGE[place]:
                block = DeformBottleneckBlock
                options |= {
                    "deform_modulated": current.DEFORM_MODULATED,
                    "deform_num_groups": current.DEFORM_NUM_GROUPS,
                }
        stages.append(ResNet.make_stage(block, count, in_channels=in_channels, out_channels=out_channels, **options))
        in_channels, out_channels, bottleneck = out_channels, out_channels * 2, bottleneck * 2
    return ResNet(stem, stages, out_features=current.OUT_FEATURES, freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT)
