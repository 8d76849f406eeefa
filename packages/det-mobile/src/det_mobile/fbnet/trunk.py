"""FBNet as a backbone."""

from det_core.errors import ConfigError
from torch import Tensor, nn

from det_mobile.fbnet.arch import FBNetBlocks

__all__ = ["FBNet", "FBNetC4"]


class FBNet(nn.Module):
    """The trunk of a mobile detector: a feature map of each stage, trunk0, trunk1 ..., of strides 2, 4, 8, 16 (, 32).

    Args:
        blocks: the architecture; its part "trunk" is built.
        in_channels: number of channels of the image.
    """

    def __init__(self, blocks: FBNetBlocks = FBNetBlocks(), *, in_channels: int = 3) -> None:  # noqa: B008 (frozen)
        super().__init__()
        stages = blocks.build("trunk", in_channels)
        if any(stride < 1 or stride % 1 for stride in stages.strides) or sorted(set(stages.strides)) != stages.strides:
            found = f"they are {', '.join(f'{stride:g}' for stride in stages.strides)}"
            raise ConfigError("FBNet.blocks", "strides of the trunk's stages must rise", found, "join such stages")
        names = [f"trunk{i}" for i in range(len(stages.channels))]
        self.channels = dict(zip(names, stages.channels, strict=True))
        self.strides = {name: int(stride) for name, stride in zip(names, stages.strides, strict=True)}
        self.size_divisibility = 1
        for name, module in zip(names, stages.modules, strict=True):
            self.add_module(name, module)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, in_channels, H, W) to {"trunk0": (B, C, ceil(H / 2), ceil(W / 2)), ...}, finest first."""
        features, x = {}, pixels
        for name in self.channels:
            x = features[name] = self.get_submodule(name)(x)
        return features


class FBNetC4(nn.Module):
    """`FBNet` without a pyramid, as the published detectors hold it: the trunk is called `body`.

    Args:
        blocks: stages of blocks, as for `FBNet`.
        in_channels: number of channels of the image.
    """

    def __init__(self, blocks: FBNetBlocks = FBNetBlocks(), *, in_channels: int = 3) -> None:  # noqa: B008 (frozen)
        super().__init__()
        self.body = FBNet(blocks, in_channels=in_channels)
        self.channels, self.strides = self.body.channels, self.body.strides
        self.size_divisibility = self.body.size_divisibility

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """As `FBNet`."""
        features: dict[str, Tensor] = self.body(pixels)
        return features
