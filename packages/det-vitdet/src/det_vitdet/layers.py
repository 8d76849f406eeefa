"""What the transformers here share: windows, patches, positions, the two-layer network of a block."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from det_core.errors import ConfigError
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

__all__ = [
    "MLP",
    "PatchEmbedding",
    "check_at_least",
    "covered",
    "cut",
    "drop_path_rates",
    "from_windows",
    "initialise",
    "padded_to",
    "positions_at",
    "run_block",
    "to_windows",
    "window_counts",
]

Grid = tuple[int, int]
"""Rows and columns."""


def check_at_least(where: str, least: int, **given: int | Sequence[int]) -> None:
    """Refuse arguments of `where`, numbers or several numbers, that are below `least`."""
    for name, value in given.items():
        if any(number < least for number in (value if isinstance(value, Sequence) else (value,))):
            raise ConfigError(f"{where}.{name}", f"must be at least {least}", f"got {value}")


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


def window_counts(size: Grid, side: int) -> Grid:
    """How many windows it takes to cover a grid, down and across."""
    return (size[0] + side - 1) // side, (size[1] + side - 1) // side


def covered(x: Tensor, side: int) -> Tensor:
    """(B, H, W, C) with zeros right and bottom, so that windows cover it exactly."""
    rows, columns = window_counts((x.shape[1], x.shape[2]), side)
    return F.pad(x, (0, 0, 0, columns * side - x.shape[2], 0, rows * side - x.shape[1]))


def to_windows(x: Tensor, side: int) -> Tensor:
    """(B, H, W, C) to (B * windows, side, side, C), row by row; zeros right and bottom where `side` does not divide."""
    return cut(covered(x, side), side, window_counts((x.shape[1], x.shape[2]), side))


def cut(x: Tensor, side: int, counts: Grid) -> Tensor:
    """(B, rows * side, columns * side, C) to (B * rows * columns, side, side, C), for these `counts`."""
    batch, channels = x.shape[0], x.shape[3]
    x = x.reshape(batch, counts[0], side, counts[1], side, channels)
    return x.transpose(2, 3).reshape(batch * counts[0] * counts[1], side, side, channels)


def from_windows(windows: Tensor, batch: int, size: Grid, shift: int = 0) -> Tensor:
    """The inverse of `to_windows`: (batch * windows, side, side, C) to (batch, *size, C), without what was added.

    With `shift`, windows were cut from a grid that had been rolled up and left by so much.
    """
    _, side, _, channels = windows.shape
    rows, columns = window_counts(size, side)
    x = windows.reshape(batch, rows, columns, side, side, channels).transpose(2, 3)
    x = x.reshape(batch, rows * side, columns * side, channels)
    if shift:
        x = x.roll((shift, shift), dims=(1, 2))
    # Not by slices: exported programs would be tied to sizes that windows cover exactly, or to others.
    row, column = (torch.arange(length, device=x.device) for length in size)
    return x.index_select(1, row).index_select(2, column)


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
    if not 0 <= last < 1:
        raise ConfigError("drop_path_rate", "must be at least 0 and below 1", f"got {last}")
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
