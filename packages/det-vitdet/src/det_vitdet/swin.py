"""Swin transformers (Liu et al., "Swin transformer: hierarchical vision transformer using shifted windows", 2021)."""

from collections.abc import Mapping, Sequence

import torch
from det_core.errors import ConfigError
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from det_vitdet.layers import (
    MLP,
    check_at_least,
    covered,
    cut,
    drop_path_rates,
    from_windows,
    initialize,
    padded_to,
    run_block,
    window_counts,
)
from det_vitdet.weights import fitted, timm_swin

__all__ = ["Swin"]

_STAGES = ("p0", "p1", "p2", "p3")
_PATCH = 4
_APART = -100.0  # added, as published, to the logits of tokens that the cyclic shift has brought into one window


class PatchEmbedding(nn.Module):
    """A normalized token for each patch of pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, _PATCH, stride=_PATCH)
        self.norm = nn.LayerNorm(channels)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, ceil(H / 4), ceil(W / 4), channels)."""
        height, width = pixels.shape[-2:]
        pixels = F.pad(pixels, (0, -width % _PATCH, 0, -height % _PATCH))
        tokens: Tensor = self.norm(self.proj(pixels).permute(0, 2, 3, 1))
        return tokens


class WindowAttention(nn.Module):
    """Attention between all tokens of a window, with a bias per head and relative position."""

    def __init__(self, channels: int, window: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        # A buffer that published files contain, though it is constant.
        self.register_buffer("relative_position_index", _distances(window))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    relative_position_index: Tensor

    def forward(self, x: Tensor, batch: int, apart: Tensor | None = None) -> Tensor:
        """(batch * windows, T, channels) to the same shape; `apart` (windows, T, T) is added before the softmax."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None]
        if apart is not None:
            bias = bias + apart[:, None]
            bias = bias.expand(batch, *bias.shape).flatten(0, 1)
        output = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        out: Tensor = self.proj(output.transpose(1, 2).flatten(2))
        return out


def _distances(window: int) -> Tensor:
    """Row of the bias table for each pair of tokens, int64 (T, T): row offsets first, then column offsets."""
    places = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
    rows, columns = places[:, :, None] - places[:, None, :] + window - 1
    return rows * (2 * window - 1) + columns


class Block(nn.Module):
    """Windowed attention and MLP, each beside a shortcut.

    Args:
        channels: number of channels of a token.
        heads: number of heads of the attention.
        window: side of a window, in tokens.
        shift: cyclic shift of the windows in tokens, right and down.
        mlp_ratio: hidden channels of the MLP, as a multiple of its input channels.
        rate: stochastic depth rate, in [0, 1).
    """

    def __init__(self, channels: int, heads: int, window: int, shift: int, mlp_ratio: float, rate: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, window, heads)
        self.drop_path = StochasticDepth(rate, "row")
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, int(channels * mlp_ratio))
        self.window, self.shift = window, shift

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, channels) to the same shape."""
        batch, height, width, _ = x.shape
        counts = window_counts((height, width), self.window)
        tokens, apart = covered(self.norm1(x), self.window), None
        if self.shift:
            tokens = tokens.roll((-self.shift, -self.shift), dims=(1, 2))
            apart = _apart(counts, self.window, self.shift, tokens)
        windows = self.attn(cut(tokens, self.window, counts).flatten(1, 2), batch, apart)
        tokens = from_windows(windows.unflatten(1, (self.window, self.window)), batch, (height, width), self.shift)
        x = x + self.drop_path(tokens)
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


def _apart(counts: tuple[int, int], window: int, shift: int, like: Tensor) -> Tensor:
    """(windows, T, T): negative for tokens that share a window only because of the cyclic shift."""

    def part(length: int) -> Tensor:
        place = torch.arange(length, device=like.device)
        return (place >= length - window).long() + (place >= length - shift).long()

    parts = 3 * part(counts[0] * window)[:, None] + part(counts[1] * window)[None, :]
    of_token = cut(parts[None, :, :, None], window, counts).flatten(1)
    return (of_token[:, None] != of_token[:, :, None]).to(like.dtype) * _APART


class PatchMerging(nn.Module):
    """Merges 2 x 2 adjacent tokens into one of twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, channels) to (B, ceil(H / 2), ceil(W / 2), 2 * channels)."""
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        # Top left, bottom left, top right, bottom right.
        four = torch.cat([x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], dim=-1)
        out: Tensor = self.reduction(self.norm(four))
        return out


class Stage(nn.Module):
    """Blocks with shifted windows in every second one, and the patch merging before the next stage."""

    def __init__(
        self, channels: int, heads: int, window: int, mlp_ratio: float, rates: Sequence[float], merges: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(channels, heads, window, window // 2 if i % 2 else 0, mlp_ratio, rate) for i, rate in enumerate(rates)
        )
        self.downsample = PatchMerging(channels) if merges else None

    def forward(self, x: Tensor, checkpointed: bool) -> tuple[Tensor, Tensor]:
        """(B, H, W, channels) to the output of this stage and the input of the next."""
        for block in self.blocks:
            x = run_block(block, x, checkpointed=checkpointed)
        return x, x if self.downsample is None else self.downsample(x)


class Swin(nn.Module):
    """A hierarchical transformer with shifted windows; the defaults are Swin-T's.

    Args:
        channels: channels of a token in the first stage; they double from stage to stage.
        depths: number of blocks of each stage.
        heads: number of attention heads of each stage.
        window_size: side of a window, in tokens.
        mlp_ratio: hidden channels of each MLP, as a multiple of its input channels.
        drop_path_rate: stochastic depth rate of the last block, in [0, 1); rises linearly from 0 at the first block.
        out_features: returned stages, some of p0 (stride 4), p1, p2, p3 (stride 32).
        activation_checkpointing: whether activations are recomputed in the backward pass, to save memory.
        pad_to: minimum side of the input in pixels, reached by zero padding right and bottom; 0 for no padding.
    """

    def __init__(
        self,
        *,
        channels: int = 96,
        depths: tuple[int, int, int, int] = (2, 2, 6, 2),
        heads: tuple[int, int, int, int] = (3, 6, 12, 24),
        window_size: int = 7,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.2,
        out_features: Sequence[str] = _STAGES,
        activation_checkpointing: bool = False,
        pad_to: int = 0,
    ) -> None:
        super().__init__()
        if not out_features or not set(out_features) <= set(_STAGES):
            raise ConfigError("Swin.out_features", f"must name some of {', '.join(_STAGES)}", f"got {out_features}")
        check_at_least("Swin", 1, channels=channels, depths=depths, heads=heads, window_size=window_size)
        if any(channels * 2**i % count for i, count in enumerate(heads)):
            raise ConfigError("Swin.heads", "must divide the channels of their stage", f"got {heads} for {channels}")
        self.activation_checkpointing, self.pad_to = activation_checkpointing, pad_to
        self.patch_embed = PatchEmbedding(channels)
        self.channels: dict[str, int] = {}
        self.strides: dict[str, int] = {}
        self.size_divisibility = 1
        # Up to this side the last stage has a single window, which would become a shape constraint of exported
        # programs.
        self.single_window = _PATCH * 2 ** (len(_STAGES) - 1) * window_size
        self.layers = nn.ModuleList()
        rates = drop_path_rates(drop_path_rate, sum(depths))
        for i, name in enumerate(_STAGES):
            width, stage_rates = channels * 2**i, rates[sum(depths[:i]) : sum(depths[: i + 1])]
            self.layers.append(Stage(width, heads[i], window_size, mlp_ratio, stage_rates, merges=name != _STAGES[-1]))
            if name in out_features:
                self.channels[name], self.strides[name] = width, _PATCH * 2**i
                self.add_module(f"norm{i}", nn.LayerNorm(width))
        initialize(self)

    def older_weights(self, state: Mapping[str, Tensor], path: str) -> tuple[str, dict[str, Tensor]] | None:
        """timm's weights, and positions learned at another image size."""
        return fitted(self, {"names of timm": timm_swin}, state, path)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {stage: (B, channels, ceil(H / stride), ceil(W / stride))}."""
        x = self.patch_embed(padded_to(pixels, self.pad_to))
        features = {}
        for i, (name, stage) in enumerate(zip(_STAGES, self.layers, strict=True)):
            output, x = stage(x, self.activation_checkpointing and self.training)
            if name in self.channels:
                features[name] = self.get_submodule(f"norm{i}")(output).permute(0, 3, 1, 2)
        return features
