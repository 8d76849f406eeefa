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
    initialize,
    padded_to,
    positions_at,
    run_block,
    to_windows,
)
from det_vitdet.weights import fitted, layer_scale

__all__ = ["Positions", "ViT", "Windows"]

_EPS = 1e-6  # of all layer norms


class Attention(nn.Module):
    """Global attention over all tokens of a grid.

    Args:
        channels: number of channels of a token.
        heads: number of heads of the attention.
        side: rows and columns of the training grid, for which relative positions are learned; 0 for none.
        qkv_bias: whether the projections of queries, keys and values have a bias.
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
        output = decomposed_attention(q, k, v, tables, size, size)
        out: Tensor = self.proj(output.transpose(1, 2).flatten(2).unflatten(1, size))
        return out


class ResidualConvolutions(nn.Module):
    """Three bottleneck convolutions beside a shortcut, which pass information between windows; identity at first."""

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
    """Windowed or global attention and MLP, each beside a shortcut.

    Args:
        attention: attention layer, called with the grid or with its windows.
        channels: number of channels of a token.
        hidden: hidden channels of the MLP.
        drop_path: stochastic depth rate, in [0, 1).
        window: window side in tokens; 0 for global attention.
        residual: whether a `ResidualConvolutions` follows the block.
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
        tokens = self.norm1(x)
        if self.window:
            tokens = from_windows(self.attn(to_windows(tokens, self.window)), x.shape[0], (x.shape[1], x.shape[2]))
        else:
            tokens = self.attn(tokens)
        x = x + self.drop_path(tokens)
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x if self.residual is None else self.residual(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Windows:
    """Choice of the blocks with windowed attention.

    Attributes:
        size: side of a window, in tokens.
        blocks: indices of the blocks with windowed attention.
    """

    size: int = 14
    blocks: Sequence[int] = (0, 1, 3, 4, 6, 7, 9, 10)


@dataclass(frozen=True)
class Positions:
    """Position embeddings; they are resampled for other image sizes.

    Attributes:
        absolute: whether each token has an absolute position embedding.
        relative: whether attention has relative position embeddings.
        image_size: side, in pixels, of the training images, for relative positions.
        pretrain_size: side, in pixels, of the pretraining images, for absolute positions.
        pretrain_class_token: whether there is one more absolute position, of the class token, which is not used.
    """

    absolute: bool = True
    relative: bool = True
    image_size: int = 1024
    pretrain_size: int = 224
    pretrain_class_token: bool = True


class ViT(nn.Module):
    """A plain vision transformer; the defaults are those of ViT-B in ViTDet.

    Args:
        patch_size: side of a patch, in pixels.
        channels: number of channels of a token.
        depth: number of blocks of the transformer.
        heads: number of heads of each attention.
        mlp_ratio: hidden channels of each MLP, as a multiple of its input channels.
        qkv_bias: whether the projections of queries, keys and values have a bias.
        drop_path_rate: stochastic depth rate of the last block, in [0, 1); rises linearly from 0 at the first block.
        windows: the blocks with windowed attention; the others have global attention.
        residual_blocks: indices of the blocks with residual convolutions after them.
        positions: position embeddings added to the tokens.
        activation_checkpointing: whether activations are recomputed in the backward pass, to save memory.
        pad_to: minimum side of the input in pixels, reached by zero padding right and bottom; 0 for no padding.
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
        initialize(self)
        self.channels: Mapping[str, int] = {"last_feat": channels}
        self.strides: Mapping[str, int] = {"last_feat": patch_size}
        self.size_divisibility = patch_size
        # Up to this side, in pixels, there is a single window, which would become a shape constraint of exported
        # programs.
        self.single_window = patch_size * windows.size if windows.blocks else 0

    def older_weights(self, state: Mapping[str, Tensor], path: str) -> tuple[str, dict[str, Tensor]] | None:
        """timm's weights, and positions learned at another image size."""
        return fitted(self, {"layer scales of timm": layer_scale}, state, path)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {"last_feat": (B, channels, H / patch_size, W / patch_size)}."""
        x = self.patch_embed(padded_to(pixels, self.pad_to))
        if self.pos_embed is not None:
            x = x + positions_at(self.pos_embed, (x.shape[1], x.shape[2]), self.pretrain_class_token)
        for block in self.blocks:
            x = run_block(block, x, checkpointed=self.activation_checkpointing and self.training)
        return {"last_feat": x.permute(0, 3, 1, 2)}
