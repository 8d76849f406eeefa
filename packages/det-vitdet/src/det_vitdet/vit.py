"""Plain vision transformers for detection (Li et al., "Exploring plain vision transformer backbones", 2022)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from det_core.errors import ConfigError
from det_core.ops.layers import LayerNorm2d, draw_weights
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from det_vitdet.attention import decomposed_attention
from det_vitdet.layers import (
    MLP,
    PatchEmbedding,
    check_at_least,
    drop_path_rates,
    from_windows,
    initialise,
    padded_to,
    positions_at,
    run_block,
    to_windows,
)
from det_vitdet.weights import fitted, layer_scale

__all__ = ["Positions", "ViT", "Windows"]

_EPS = 1e-6  # of all layer norms


class Attention(nn.Module):
    """Every token of a grid looks at every other.

    Args:
        channels: of a token.
        heads: that share them.
        side: rows and columns of the grid that relative positions are learnt for; 0: without relative positions.
        qkv_bias: whether queries, keys and values have a bias.
    """

    def __init__(self, channels: int, heads: int, side: int, qkv_bias: bool) -> None:
        super().__init__()
        self.heads, self.relative = heads, side > 0
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        if self.relative:
            self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, channels // heads))
            self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, channels // heads))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, channels) to the same shape."""
        size = (x.shape[1], x.shape[2])
        q, k, v = self.qkv(x).flatten(1, 2).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        tables = (self.rel_pos_h, self.rel_pos_w) if self.relative else None
        found = decomposed_attention(q, k, v, tables, size, size)
        out: Tensor = self.proj(found.transpose(1, 2).flatten(2).unflatten(1, size))
        return out


class ResidualConvolutions(nn.Module):
    """Three convolutions beside a shortcut, through which windows learn of each other; starts as its shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = channels // 2
        for i, (before, after, kernel) in enumerate(
            ((channels, middle, 1), (middle, middle, 3), (middle, channels, 1)), start=1
        ):
            conv = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
            draw_weights(conv, "relu")
            self.add_module(f"conv{i}", conv)
            self.add_module(f"norm{i}", LayerNorm2d(after))
        nn.init.zeros_(self.get_submodule("norm3").weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        out = x
        for i in (1, 2, 3):
            out = self.get_submodule(f"norm{i}")(self.get_submodule(f"conv{i}")(out))
            out = F.gelu(out) if i < 3 else out
        return x + out


class Block(nn.Module):
    """Attention, within windows or over everything, and a two-layer network, each beside a shortcut.

    Args:
        attention: what the tokens do; called with the grid, or with the windows of it.
        channels: of a token.
        hidden: of the two-layer network.
        drop_path: how often, in training, an image does without what attention says, or without the network.
        window: side of the windows; 0: one window, the whole grid.
        residual: whether convolutions follow.
    """

    def __init__(
        self, attention: nn.Module, channels: int, hidden: int, drop_path: float, window: int, residual: bool
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=_EPS)
        self.attn = attention
        self.drop_path = StochasticDepth(drop_path, "row")
        self.norm2 = nn.LayerNorm(channels, eps=_EPS)
        self.mlp = MLP(channels, hidden)
        self.window = window
        self.residual = ResidualConvolutions(channels) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, channels) to the same shape."""
        seen = self.norm1(x)
        if self.window:
            seen = from_windows(self.attn(to_windows(seen, self.window)), x.shape[0], (x.shape[1], x.shape[2]))
        else:
            seen = self.attn(seen)
        x = x + self.drop_path(seen)
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x if self.residual is None else self.residual(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Windows:
    """Which blocks have windowed attention.

    Attributes:
        size: side of the windows, in tokens.
        blocks: numbers of the blocks whose tokens attend within their window alone.
    """

    size: int = 14
    blocks: Sequence[int] = (0, 1, 3, 4, 6, 7, 9, 10)


@dataclass(frozen=True)
class Positions:
    """The embeddings of positions; images of other sizes resample them.

    Attributes:
        absolute: whether each token has an embedding of its position.
        relative: whether attention depends on how far apart tokens are.
        image_size: side of the images that relative positions are learnt for, in pixels.
        pretrain_size: side of the images that absolute positions were learnt for, in pixels.
        pretrain_class_token: whether there is one more absolute position, which is not used.
    """

    absolute: bool = True
    relative: bool = True
    image_size: int = 1024
    pretrain_size: int = 224
    pretrain_class_token: bool = True


class ViT(nn.Module):
    """A plain vision transformer; the defaults are ViT-B's, as ViTDet has it.

    Args:
        patch_size: pixels per token on each axis.
        channels: of a token.
        depth: blocks.
        heads: of each attention.
        mlp_ratio: how much wider the two-layer networks are inside.
        qkv_bias: whether queries, keys and values have a bias.
        drop_path_rate: how often the last block's residuals are left out in training; rises from 0 at the first.
        windows: the blocks with windowed attention; the others have global attention.
        residual_blocks: numbers of the blocks that convolutions follow.
        positions: the embeddings of positions.
        activation_checkpointing: compute each block again for the gradient, instead of keeping what it computed.
        pad_to: images are padded with zeros, right and bottom, until their sides are this long at least; 0: not.
    """

    def __init__(
        self,
        *,
        patch_size: int = 16,
        channels: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop_path_rate: float = 0.0,
        windows: Windows = Windows(),
        residual_blocks: Sequence[int] = (),
        positions: Positions = Positions(),
        activation_checkpointing: bool = False,
        pad_to: int = 0,
    ) -> None:
        super().__init__()
        check_at_least("ViT", 1, patch_size=patch_size, channels=channels, depth=depth, heads=heads)
        side, pretrain_size = positions.image_size, positions.pretrain_size
        check_at_least("ViT.positions", patch_size, image_size=side, pretrain_size=pretrain_size)
        for name, numbers in (("windows.blocks", windows.blocks), ("residual_blocks", residual_blocks)):
            if outside := [number for number in numbers if not 0 <= number < depth]:
                raise ConfigError(f"ViT.{name}", f"must be numbers from 0 to {depth - 1}", f"got {outside}")
        if channels % heads:
            raise ConfigError("ViT.heads", "must divide the channels", f"got {heads} for {channels}")
        if windows.blocks:
            check_at_least("ViT.windows", 1, size=windows.size)
        self.pretrain_class_token, self.pad_to = positions.pretrain_class_token, pad_to
        self.activation_checkpointing = activation_checkpointing
        self.patch_embed = PatchEmbedding(channels, patch_size, patch_size)
        self.pos_embed: nn.Parameter | None = None
        if positions.absolute:
            places = (pretrain_size // patch_size) ** 2 + positions.pretrain_class_token
            self.pos_embed = nn.Parameter(torch.zeros(1, places, channels))
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.ModuleList()
        for number, rate in enumerate(drop_path_rates(drop_path_rate, depth)):
            window = windows.size if number in windows.blocks else 0
            grid = (window or side // patch_size) if positions.relative else 0
            attention = Attention(channels, heads, grid, qkv_bias)
            block = Block(attention, channels, int(channels * mlp_ratio), rate, window, number in residual_blocks)
            self.blocks.append(block)
        initialise(self)
        self.channels: Mapping[str, int] = {"last_feat": channels}
        self.strides: Mapping[str, int] = {"last_feat": patch_size}
        self.size_divisibility = patch_size
        # Up to this side, in pixels, there is a single window, which an exported program takes for a rule.
        self.single_window = patch_size * windows.size if windows.blocks else 0

    def older_weights(self, state: Mapping[str, Tensor], path: str) -> tuple[str, dict[str, Tensor]] | None:
        """timm's weights too, and positions of another size."""
        return fitted(self, {"layer scales of timm": layer_scale}, state, path)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {"last_feat": (B, channels, H / patch_size, W / patch_size)}."""
        x = self.patch_embed(padded_to(pixels, self.pad_to))
        if self.pos_embed is not None:
            x = x + positions_at(self.pos_embed, (x.shape[1], x.shape[2]), self.pretrain_class_token)
        for block in self.blocks:
            x = run_block(block, x, checkpointed=self.activation_checkpointing and self.training)
        return {"last_feat": x.permute(0, 3, 1, 2)}
