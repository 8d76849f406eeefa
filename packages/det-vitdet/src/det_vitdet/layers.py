"""Layers shared by the transformers: windows, patch embedding, positions, MLP."""

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
    "initialize",
    "padded_to",
    "positions_at",
    "run_block",
    "to_windows",
    "window_counts",
]

Grid = tuple[int, int]
"""Rows and columns."""


def check_at_least(where: str, minimum: int, **values: int | Sequence[int]) -> None:
    """Raise ConfigError for arguments of `where`, numbers or sequences of numbers, below `minimum`."""
    for name, value in values.items():
        if any(number < minimum for number in (value if isinstance(value, Sequence) else (value,))):
            raise ConfigError(f"{where}.{name}", f"must be at least {minimum}", f"got {value}")


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
    """Number of windows that cover a grid, down and across."""
    return (size[0] + side - 1) // side, (size[1] + side - 1) // side


def covered(x: Tensor, side: int) -> Tensor:
    """(B, H, W, C) padded with zeros right and bottom to a multiple of the window side."""
    rows, columns = window_counts((x.shape[1], x.shape[2]), side)
    return F.pad(x, (0, 0, 0, columns * side - x.shape[2], 0, rows * side - x.shape[1]))


def to_windows(x: Tensor, side: int) -> Tensor:
    """(B, H, W, C) to (B * windows, side, side, C), row by row; zeros right and bottom where `side` does not divide."""
    return cut(covered(x, side), side, window_counts((x.shape[1], x.shape[2]), side))


def cut(x: Tensor, side: int, counts: Grid) -> Tensor:
    """(B, rows * side, columns * side, C) to (B * rows * columns, side, side, C), with `counts` = (rows, columns)."""
    batch, channels = x.shape[0], x.shape[3]
    x = x.reshape(batch, counts[0], side, counts[1], side, channels)
    return x.transpose(2, 3).reshape(batch * counts[0] * counts[1], side, side, channels)


def from_windows(windows: Tensor, batch: int, size: Grid, shift: int = 0) -> Tensor:
    """The inverse of `to_windows`: (batch * windows, side, side, C) to (batch, *size, C), without the padding.

    `shift` undoes a cyclic shift of the grid, up and left, before it was cut.
    """
    _, side, _, channels = windows.shape
    rows, columns = window_counts(size, side)
    x = windows.reshape(batch, rows, columns, side, side, channels).transpose(2, 3)
    x = x.reshape(batch, rows * side, columns * side, channels)
    if shift:
        x = x.roll((shift, shift), dims=(1, 2))
    # No slices: they would restrict exported programs to sizes with padding, or to sizes without.
    row, column = (torch.arange(length, device=x.device) for length in size)
    return x.index_select(1, row).index_select(2, column)


def positions_at(positions: Tensor, size: tuple[int, int], class_token: bool) -> Tensor:
    """Absolute positions (1, L, C) of a square grid, resampled to (1, *size, C).

    With `class_token` the first position belongs to a token outside of the grid, and is dropped.
    """
    grid = positions[:, 1:] if class_token else positions
    side = round(grid.shape[1] ** 0.5)
    # At the same size bicubic weights are exactly 0 and 1; a branch would fix the size of exported programs.
    square = grid.unflatten(1, (side, side)).permute(0, 3, 1, 2)
    return F.interpolate(square, size=size, mode="bicubic", align_corners=False).permute(0, 2, 3, 1)


def padded_to(pixels: Tensor, side: int) -> Tensor:
    """Pixels padded with zeros right and bottom to at least `side` in both directions."""
    if not side:
        return pixels
    height, width = pixels.shape[-2:]
    missing: Any = (0, torch.sym_max(side - width, 0), 0, torch.sym_max(side - height, 0))
    return F.pad(pixels, missing)


def drop_path_rates(last: float, blocks: int) -> list[float]:
    """Stochastic depth rate of each block: rises linearly from 0 to `last` (Huang et al., 2016)."""
    if not 0 <= last < 1:
        raise ConfigError("drop_path_rate", "must be at least 0 and below 1", f"got {last}")
    return [last * i / max(blocks - 1, 1) for i in range(blocks)]


def run_block(block: Callable[..., Tensor], *inputs: Tensor, checkpointed: bool) -> Tensor:
    """Output of a block; `checkpointed`: recompute activations in the backward pass instead of keeping them."""
    if checkpointed and torch.is_grad_enabled():
        again: Tensor = checkpoint(block, *inputs, use_reentrant=False)
        return again
    return block(*inputs)


def initialize(network: nn.Module) -> None:
    """Draw the weights of all linear layers like the published transformers; biases start at zero."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
