"""A backbone of four strided convolutions: small enough to read at a glance."""

from torch import Tensor, nn


class TinyBackbone(nn.Module):
    """Halve the resolution once per stage and name each stage after its stride.

    Args:
        width: channels of the first stage; each further stage doubles them.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.strides = {f"s{2**n}": 2**n for n in range(2, 6)}
        self.channels = {name: width * stride // 4 for name, stride in self.strides.items()}
        self.size_divisibility = 32
        self.stages = nn.ModuleDict()
        before, stride_before = 3, 1
        for name, channels in self.channels.items():
            step = self.strides[name] // stride_before
            conv = nn.Conv2d(before, channels, 2 * step - 1, stride=step, padding=step - 1)
            self.stages[name] = nn.Sequential(conv, nn.GroupNorm(4, channels), nn.ReLU())
            before, stride_before = channels, self.strides[name]

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {"s4": (B, width, H/4, W/4), ..., "s32": (B, 8 * width, H/32, W/32)}."""
        features = {}
        for name, stage in self.stages.items():
            pixels = stage(pixels)
            features[name] = pixels
        return features
