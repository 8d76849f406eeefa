"""Architectures of mobile detectors: the blocks of each part."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from det_core.errors import ConfigError
from det_core.ops.layers import Norm
from det_core.plugins import registry
from det_core.printable import quoted
from torch import nn

from det_mobile.fbnet.blocks import Surroundings, build_block
from det_mobile.fbnet.layers import divisible
from det_mobile.fbnet.spelling import Block, stages_of
from det_mobile.fbnet.tables import ARCHITECTURES, BASIC_ARGS

__all__ = ["PARTS", "FBNetBlocks", "Stages"]

PARTS = ("trunk", "rpn", "bbox", "mask", "kpts")


class Stages(NamedTuple):
    """The stages of a part of a detector.

    Attributes:
        modules: modules of the stages, in order.
        channels: number of output channels of each stage.
        strides: stride of the output of each stage relative to the input of the part; below 1 for upsampling.
    """

    modules: nn.Sequential
    channels: list[int]
    strides: list[float]


@dataclass(frozen=True)
class FBNetBlocks:
    """The blocks of the parts of a detector, and their width.

    Attributes:
        arch: name of a published architecture, such as "FBNetV3_A", or a table: part ("trunk", "rpn", "bbox", "mask",
            "kpts") -> stages, as lists of [name, channels, stride, repeats, {option: value}] or as a line of text,
            "conv_k3 16 s2; ir_k3 16 e1 | ir_k5 32 s2 e4". The entry "basic_args" has the arguments of all blocks;
            published architectures have {dw_skip_bnrelu: true}.
        scale: factor of the number of channels of every block.
        divisor: scaled numbers of channels, also within blocks, are rounded to multiples of this.
        norm: kind of norm after the convolutions.
    """

    arch: str | Mapping[str, Any] = "FBNetV3_A"
    scale: float = 1.0
    divisor: int = 8
    norm: Norm = "BN"

    def __post_init__(self) -> None:
        if isinstance(self.arch, str) and self.arch not in ARCHITECTURES:
            fix = registry.did_you_mean(self.arch, ARCHITECTURES) or f"there are {', '.join(ARCHITECTURES)}"
            raise ConfigError("FBNetBlocks.arch", f"there is no architecture {quoted(self.arch)}", fix=fix)
        if not isinstance(self.arch, str) and (unknown := self.arch.keys() - {*PARTS, "basic_args"}):
            fix = f"parts are {', '.join(PARTS)}"
            raise ConfigError("FBNetBlocks.arch", f"there is no part {quoted(sorted(map(str, unknown))[0])}", fix=fix)
        if self.scale <= 0 or self.divisor < 1:
            found = f"got {self.scale} and {self.divisor}"
            raise ConfigError("FBNetBlocks", "needs a positive scale and a divisor of at least 1", found)

    def stages(self, part: str) -> list[list[Block]]:
        """The blocks of each stage of a part.

        Raises:
            ConfigError: the architecture has no such part, or its table has another form.
        """
        arch = ARCHITECTURES[self.arch] if isinstance(self.arch, str) else self.arch
        if part not in arch:
            name = self.arch if isinstance(self.arch, str) else "the given table"
            others = [each for each, parts in ARCHITECTURES.items() if part in parts]
            fix = f"add it to the table, or take one that has it: {', '.join(others)}"
            raise ConfigError("FBNetBlocks.arch", f"{name} has no part {part!r}", f"it has {', '.join(arch)}", fix)
        return stages_of(arch[part], f"FBNetBlocks.arch.{part}")

    def build(self, part: str, in_channels: int) -> Stages:
        """The stages of a part for an input of that many channels; blocks are called fbnetv2_STAGE_BLOCK.

        Raises:
            ConfigError: as `stages`, or there is no such block.
        """
        shared = BASIC_ARGS if isinstance(self.arch, str) else self.arch.get("basic_args", {})
        around = Surroundings(self.norm, self.divisor)
        modules, channels, strides, width, stride = [], [], [], in_channels, 1.0
        for i, stage in enumerate(self.stages(part)):
            blocks: OrderedDict[str, nn.Module] = OrderedDict()
            for j, block in enumerate(stage):
                out = block.channels
                if self.scale != 1:
                    out = divisible(int(out * self.scale), self.divisor)
                whole = Block(block.op, block.channels, block.stride, {**shared, **block.options})
                name, where = f"fbnetv2_{i}_{j}", f"FBNetBlocks.arch.{part}[{i}]"
                blocks[name] = build_block(whole, width, out, around, where)
                width, stride = out, stride * (block.stride if block.stride > 0 else -1 / block.stride)
            modules.append(nn.Sequential(blocks))
            channels.append(width)
            strides.append(stride)
        return Stages(nn.Sequential(*modules), channels, strides)
