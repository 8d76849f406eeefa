"""MViTv2 (Li et al., "MViTv2: improved multiscale vision transformers for classification and detection", 2022)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from det_core.errors import ConfigError
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
    run_block,
    to_windows,
)
from det_vitdet.weights import fitted

__all__ = ["MViT"]

_EPS = 1e-6  # of all layer norms
_STAGES = ("scale2", "scale3", "scale4", "scale5")
_PATCH_STRIDE = 4


class PooledAttention(nn.Module):
    """Attention between queries, keys and values that are pooled by a depthwise convolution.

    Args:
        in_channels: channels of an input token.
        channels: channels of an output token.
        heads: number of heads of the attention.
        stride_q: pooling stride of the queries on each axis.
        stride_kv: pooling stride of keys and values on each axis.
        window: window side in input tokens; 0 for global attention.
        side: rows and columns of the training grid, for which relative positions are learned.
        residual_pooling: whether each pooled query is added to its attention output.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        heads: int,
        *,
        stride_q: int,
        stride_kv: int,
        window: int,
        side: int,
        residual_pooling: bool,
    ) -> None:
        super().__init__()
        self.heads, self.residual_pooling = heads, residual_pooling
        self.qkv = nn.Linear(in_channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        width = channels // heads
        for name, stride in (("q", stride_q), ("k", stride_kv), ("v", stride_kv)):
            pool = nn.Conv2d(width, width, 3, stride=stride, padding=1, groups=width, bias=False)
            self.add_module(f"pool_{name}", pool)
            self.add_module(f"norm_{name}", nn.LayerNorm(width, eps=_EPS))
        if window % stride_q or window % stride_kv:
            found = f"got windows of {window} tokens, of which {stride_q} become one query and {stride_kv} one key"
            raise ConfigError("MViT.pooling.window_size", "must be a multiple of the strides within it", found)
        self.window_q, self.window_kv = window // stride_q, window // stride_kv
        distances = 2 * max(side // stride_q, side // stride_kv) - 1
        self.rel_pos_h = nn.Parameter(torch.zeros(distances, width))
        self.rel_pos_w = nn.Parameter(torch.zeros(distances, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, in_channels) to (B, ceil(H / stride_q), ceil(W / stride_q), channels)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(3, 0, 4, 1, 2, 5).flatten(1, 2)
        q, k, v = self._pooled("q", q), self._pooled("k", k), self._pooled("v", v)
        size = (q.shape[1], q.shape[2])
        windows = (q, k, v)
        if self.window_q:
            windows = (to_windows(q, self.window_q), to_windows(k, self.window_kv), to_windows(v, self.window_kv))
        grid, key_grid = ((each.shape[1], each.shape[2]) for each in windows[:2])
        # Heads are folded into the batch.
        queries, keys, values = (each.flatten(1, 2)[:, None] for each in windows)
        tables = (self.rel_pos_h, self.rel_pos_w)
        output = decomposed_attention(queries, keys, values, tables, grid, key_grid)
        output = output[:, 0].unflatten(1, grid)
        if self.window_q:
            output = from_windows(output, q.shape[0], size)
        if self.residual_pooling:
            output = output + q
        joined = output.unflatten(0, (-1, self.heads)).permute(0, 2, 3, 1, 4).flatten(3)
        out: Tensor = self.proj(joined)
        return out

    def _pooled(self, name: str, x: Tensor) -> Tensor:
        smaller = self.get_submodule(f"pool_{name}")(x.permute(0, 3, 1, 2))
        normed: Tensor = self.get_submodule(f"norm_{name}")(smaller.permute(0, 2, 3, 1))
        return normed


class Block(nn.Module):
    """Pooled attention and MLP, each beside a shortcut that is projected to their shape."""

    def __init__(
        self, attention: PooledAttention, in_channels: int, channels: int, stride: int, mlp_ratio: float, rate: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(in_channels, eps=_EPS)
        self.attn = attention
        self.drop_path = StochasticDepth(rate, "row")
        self.norm2 = nn.LayerNorm(channels, eps=_EPS)
        self.mlp = MLP(channels, int(channels * mlp_ratio))
        self.proj = nn.Linear(in_channels, channels) if in_channels != channels else None
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, in_channels) to (B, ceil(H / stride), ceil(W / stride), channels)."""
        normalized = self.norm1(x)
        if self.proj is not None:
            x = self.proj(normalized)
        if self.stride > 1:
            kernel = self.stride + 1
            x = F.max_pool2d(x.permute(0, 3, 1, 2), kernel, self.stride, kernel // 2).permute(0, 2, 3, 1)
        x = x + self.drop_path(self.attn(normalized))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


@dataclass(frozen=True)
class PooledWindows:
    """Pooled, windowed attention of the first stage.

    Attributes:
        kv_stride: pooling stride of keys and values on each axis; halves from stage to stage.
        window_size: window side in tokens; halves from stage to stage.
        residual: whether each query is added to its attention output.
    """

    kv_stride: int = 4
    window_size: int = 56
    residual: bool = True


class MViT(nn.Module):
    """A multiscale transformer: maps shrink and channels grow from stage to stage; the defaults are MViTv2-T's.

    Attention is windowed; the last block of each stage but the first, which makes the output of the stage, has global
    attention.

    Args:
        image_size: side, in pixels, of the training images; relative positions are resampled for other sizes.
        channels: channels of a token in the first stage; they double from stage to stage, and so does the number of
            heads.
        depth: number of blocks of all four stages together; None to derive it from `last_blocks`.
        heads: number of attention heads in the first stage.
        last_blocks: index of the last block of each of the four stages.
        pooling: strides and windows of the pooled attention.
        mlp_ratio: hidden channels of each MLP, as a multiple of its input channels.
        drop_path_rate: stochastic depth rate of the last block, in [0, 1); rises linearly from 0 at the first block.
        out_features: returned stages, some of scale2 (stride 4), scale3, scale4, scale5 (stride 32).
        activation_checkpointing: whether activations are recomputed in the backward pass, to save memory.
        pad_to: minimum side of the input in pixels, reached by zero padding right and bottom; 0 for no padding.
    """

    def __init__(
        self,
        *,
        image_size: int = 224,
        channels: int = 96,
        depth: int | None = None,
        heads: int = 1,
        last_blocks: tuple[int, int, int, int] = (0, 2, 7, 9),
        pooling: PooledWindows = PooledWindows(),
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        out_features: Sequence[str] = _STAGES,
        activation_checkpointing: bool = False,
        pad_to: int = 0,
    ) -> None:
        super().__init__()
        kv_stride, window_size = pooling.kv_stride, pooling.window_size
        check_at_least("MViT.pooling", 1, kv_stride=kv_stride)
        check_at_least("MViT", 32, image_size=image_size)
        depth = last_blocks[-1] + 1 if depth is None and last_blocks else depth or 0
        _check(depth, last_blocks, out_features, channels, heads)
        self.activation_checkpointing, self.pad_to, self.size_divisibility = activation_checkpointing, pad_to, 1
        self.patch_embed = PatchEmbedding(channels, 7, _PATCH_STRIDE, 3)
        self._last = dict(zip(last_blocks, _STAGES, strict=True))
        self.channels: dict[str, int] = {}
        self.strides: dict[str, int] = {}
        self.blocks = nn.ModuleList()
        in_channels, side, stride = channels, image_size // _PATCH_STRIDE, _PATCH_STRIDE
        for number, rate in enumerate(drop_path_rates(drop_path_rate, depth)):
            first = number - 1 in last_blocks
            attention = PooledAttention(
                *(in_channels, channels, heads),
                stride_q=2 if first else 1,
                stride_kv=kv_stride * 2 if number in last_blocks[1:3] else kv_stride,
                window=0 if number in last_blocks[1:] else window_size,
                side=side,
                residual_pooling=pooling.residual,
            )
            self.blocks.append(Block(attention, in_channels, channels, 2 if first else 1, mlp_ratio, rate))
            in_channels = channels
            if (name := self._last.get(number)) is not None:
                if name in out_features:
                    self._add_output(name, channels, stride)
                channels, heads, stride, kv_stride = 2 * channels, 2 * heads, 2 * stride, max(kv_stride // 2, 1)
            if first:  # it shrinks the input, and so uses the windows of the stage before
                window_size, side = window_size // 2, side // 2
        # Largest side, in pixels, with a single window, which would become a shape constraint of exported programs.
        self.single_window = _PATCH_STRIDE * pooling.window_size
        initialize(self)

    def _add_output(self, name: str, channels: int, stride: int) -> None:
        self.channels[name], self.strides[name] = channels, stride
        self.add_module(f"{name}_norm", nn.LayerNorm(channels, eps=_EPS))

    def older_weights(self, state: Mapping[str, Tensor], path: str) -> tuple[str, dict[str, Tensor]] | None:
        """Positions learned at another image size."""
        return fitted(self, {}, state, path)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {stage: (B, channels, ceil(H / stride), ceil(W / stride))}."""
        x = self.patch_embed(padded_to(pixels, self.pad_to))
        features = {}
        for number, block in enumerate(self.blocks):
            x = run_block(block, x, checkpointed=self.activation_checkpointing and self.training)
            if (name := self._last.get(number)) in self.channels:
                features[name] = self.get_submodule(f"{name}_norm")(x).permute(0, 3, 1, 2)
        return features


def _check(depth: int, last_blocks: Sequence[int], out_features: Sequence[str], channels: int, heads: int) -> None:
    check_at_least("MViT", 1, channels=channels, heads=heads)
    rising = len(last_blocks) == 4 and list(last_blocks) == sorted(set(last_blocks))
    if not rising or last_blocks[0] < 0 or last_blocks[-1] != depth - 1:
        found = f"got {list(last_blocks)} for {depth} blocks"
        raise ConfigError("MViT.last_blocks", "must be four, rise, and end with the last block", found)
    if not out_features or not set(out_features) <= set(_STAGES):
        raise ConfigError("MViT.out_features", f"must name some of {', '.join(_STAGES)}", f"got {out_features}")
    if channels % heads:
        raise ConfigError("MViT.heads", "must divide the channels", f"got {heads} for {channels}")
