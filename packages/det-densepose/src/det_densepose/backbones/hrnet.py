"""HRNet: branches of several resolutions side by side (Sun et al., "Deep high-resolution representation", 2019).

The names of the parts are those of the published ImageNet weights.
"""

from collections.abc import Sequence

import torch
from det_core.errors import ConfigError
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["HRNet", "first_cells"]

_MOMENTUM = 0.1
_EXPANSION = 4  # of a bottleneck
_STRIDE = 4  # of the finest branch


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(channels, channels, 3), _norm(channels)
        self.conv2, self.bn2 = _conv(channels, channels, 3), _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + x)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions and a shortcut, which is projected where the channels change."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        out_channels = channels * _EXPANSION
        self.conv1, self.bn1 = _conv(in_channels, channels, 1), _norm(channels)
        self.conv2, self.bn2 = _conv(channels, channels, 3), _norm(channels)
        self.conv3, self.bn3 = _conv(channels, out_channels, 1), _norm(out_channels)
        self.downsample: nn.Module | None = None
        if in_channels != out_channels:
            self.downsample = nn.Sequential(_conv(in_channels, out_channels, 1), _norm(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, 4 * channels, H, W)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + shortcut)


class Exchange(nn.Module):
    """A few blocks in each branch, then a sum over all branches for each branch.

    Args:
        channels: number of channels of each branch, finest first.
        blocks: number of basic blocks in each branch.
    """

    def __init__(self, channels: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width) for _ in range(count)))
            for width, count in zip(channels, blocks, strict=True)
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_path(channels, source, target) for source in range(len(channels)))
            for target in range(len(channels))
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """One map a branch, to the same shapes."""
        outputs = [branch(each) for branch, each in zip(self.branches, maps, strict=True)]
        fused = []
        for target, paths in enumerate(self.fuse_layers):
            height, width = outputs[target].shape[-2:]
            parts = [path(each) for path, each in zip(paths.children(), outputs, strict=True)]
            for source in range(target + 1, len(parts)):
                raised = F.interpolate(parts[source], scale_factor=2 ** (source - target), mode="nearest")
                parts[source] = first_cells(raised, height, width)  # odd sizes come out too large
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            fused.append(F.relu(total))
        return fused


class HRNet(nn.Module):
    """A network that keeps a high-resolution branch and exchanges features with branches of lower resolution.

    Args:
        channels: number of channels of the four branches, finest first; earlier stages have only the first of them.
        modules: number of exchanges between branches in the stages with two, three and four branches.
        blocks: number of basic blocks of a branch between two exchanges.
        stem_channels: number of channels of the two convolutions of the stem.

    Attributes:
        channels: p1 to p4 -> channels.
        strides: stride of each level in pixels: p1 to p4 -> 4, 8, 16, 32.
        size_divisibility: side by which heights and widths must be divisible, in pixels: 1, any size.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 128, 256),
        modules: Sequence[int] = (1, 4, 3),
        blocks: int = 4,
        stem_channels: int = 64,
    ) -> None:
        super().__init__()
        if len(channels) != len(modules) + 1:
            found = f"got {list(channels)} and {list(modules)}"
            raise ConfigError("HRNet.modules", "must be one fewer than channels: the first stage has none", found)
        self.conv1, self.bn1 = _conv(3, stem_channels, 3, 2), _norm(stem_channels)
        self.conv2, self.bn2 = _conv(stem_channels, stem_channels, 3, 2), _norm(stem_channels)
        width = stem_channels * _EXPANSION
        self.layer1 = nn.Sequential(
            Bottleneck(stem_channels, stem_channels), *(Bottleneck(width, stem_channels) for _ in range(3))
        )
        before: list[int] = [width]
        for stage, count in enumerate(modules, 2):
            now = list(channels[:stage])
            self.add_module(f"transition{stage - 1}", _transition(before, now))
            self.add_module(f"stage{stage}", nn.Sequential(*(Exchange(now, [blocks] * stage) for _ in range(count))))
            before = now
        self._stages = len(channels)
        self.channels = {f"p{i + 1}": width for i, width in enumerate(channels)}
        self.strides = {name: _STRIDE * 2**i for i, name in enumerate(self.channels)}
        self.size_divisibility = 1
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.001)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {"p1": (B, channels, ceil(H / 4), ceil(W / 4)), ...}, finest first."""
        x = F.relu(self.bn1(self.conv1(pixels)))
        x = F.relu(self.bn2(self.conv2(x)))
        maps: list[Tensor] = [self.layer1(x)]
        for stage in range(2, self._stages + 1):
            grown: list[Tensor] = []
            for i, path in enumerate(self.get_submodule(f"transition{stage - 1}").children()):
                # A branch that goes on as it is keeps its own map; each layer reads the coarsest, as published.
                grown.append(maps[i] if isinstance(path, nn.Identity) else path(maps[-1]))
            maps = self.get_submodule(f"stage{stage}")(grown)
        return dict(zip(self.channels, maps, strict=True))


def first_cells(x: Tensor, height: int, width: int) -> Tensor:
    """The first rows and columns of maps (B, C, H, W), no more than there are."""
    if not torch.compiler.is_exporting():
        return x[..., :height, :width]
    # Slices would tie exported programs to sizes that are proven to be there.
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    return x.index_select(2, rows).index_select(3, columns)


def _transition(before: Sequence[int], now: Sequence[int]) -> nn.ModuleList:
    """What makes the branches of a stage of those before it: new ones of the coarsest, at half its size."""
    paths: list[nn.Module] = []
    for i, width in enumerate(now):
        if i >= len(before):
            step = nn.Sequential(_conv(before[-1], width, 3, 2), _norm(width), nn.ReLU())
            paths.append(nn.Sequential(step))
        elif before[i] != width:
            paths.append(nn.Sequential(_conv(before[i], width, 3), _norm(width), nn.ReLU()))
        else:
            paths.append(nn.Identity())
    return nn.ModuleList(paths)


def _path(channels: Sequence[int], source: int, target: int) -> nn.Module:
    """From one branch to another: channels first where it goes up, strided steps where it goes down."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(_conv(channels[source], channels[target], 1), _norm(channels[target]))
    steps: list[nn.Module] = []
    for step in range(target - source):
        last = step == target - source - 1
        width = channels[target] if last else channels[source]
        layers: list[nn.Module] = [_conv(channels[source], width, 3, 2), _norm(width)]
        steps.append(nn.Sequential(*layers, *(() if last else (nn.ReLU(),))))
    return nn.Sequential(*steps)


def _conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=_MOMENTUM)
