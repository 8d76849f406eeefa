"""What the transformers here share: windows, patches, positions, the two-layer network of a block."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

__all__ = [
    "MLP",
    "PatchEmbedding",
    "drop_path_rates",
    "from_windows",
    "initialise",
    "padded_to",
    "positions_at",
    "run_block",
    "to_windows",
]


class MLP(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) to the same shape."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class PatchEmbedding(nn.Module):
    """A strided convolution that turns each patch of pixels into a token."""

    def __init__(self, channels: int, kernel: int, stride: int, padding: int = 0) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, kernel, stride=stride, padding=padding)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, rows, columns, channels)."""
        tokens: Tensor = self.proj(pixels).permute(0, 2, 3, 1)
        return tokens


def to_windows(x: Tensor, side: int) -> Tensor:
    """(B, H, W, C) to (B * windows, side, side, C), row by row; zeros right and bottom where `side` does not divide."""
    _, height, width, _ = x.shape
    x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
    x = x.unflatten(2, (-1, side)).unflatten(1, (-1, side))
    return x.transpose(2, 3).flatten(0, 2)


def from_windows(windows: Tensor, size: tuple[int, int]) -> Tensor:
    """The inverse of `to_windows`: (B * windows, side, side, C) to (B, *size, C), without what was added."""
    side = windows.shape[1]
    rows, columns = ((length + side - 1) // side for length in size)
    x = windows.unflatten(0, (-1, rows, columns)).transpose(2, 3)
    return x.flatten(3, 4).flatten(1, 2)[:, : size[0], : size[1]]


def positions_at(positions: Tensor, size: tuple[int, int], class_token: bool) -> Tensor:
    """Absolute positions (1, L, C) of a square grid, resampled to (1, *size, C).

    With `class_token` the first of them belongs to a token that is not in the grid, and is left out.
    """
    grid = positions[:, 1:] if class_token else positions
    side = round(grid.shape[1] ** 0.5)
    # At the same size bicubic weights are 0 and 1 exactly; a branch would tie exported programs to a size.
    square = grid.unflatten(1, (side, side)).permute(0, 3, 1, 2)
    return F.interpolate(square, size=size, mode="bicubic", align_corners=False).permute(0, 2, 3, 1)


def padded_to(pixels: Tensor, side: int) -> Tensor:
    """Pixels with zeros right and bottom, so that neither side is shorter than `side`."""
    if not side:
        return pixels
    height, width = pixels.shape[-2:]
    missing: Any = (0, torch.sym_max(side - width, 0), 0, torch.sym_max(side - height, 0))
    return F.pad(pixels, missing)


def drop_path_rates(last: float, blocks: int) -> list[float]:
    """How often each block's residual is left out: from 0, evenly, to `last` (Huang et al., 2016)."""
    return [last * i / max(blocks - 1, 1) for i in range(blocks)]


def run_block(block: Callable[..., Tensor], *inputs: Tensor, checkpointed: bool) -> Tensor:
    """What a block makes of its inputs; `checkpointed`: computed again for the gradient, instead of kept."""
    if checkpointed and torch.is_grad_enabled():
        again: Tensor = checkpoint(block, *inputs, use_reentrant=False)
        return again
    return block(*inputs)


def initialise(network: nn.Module) -> None:
    """Draw the weights of all linear layers, as the published transformers do; their biases start at zero."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
