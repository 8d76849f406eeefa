"""The blocks of FBNet by their names in block tables: inverted residuals, convolutions, pools."""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from det_core.errors import ConfigError
from det_core.ops.layers import Norm
from det_core.plugins import registry
from det_core.printable import quoted
from torch import Tensor, nn
from torch.nn import functional as F

from det_mobile.fbnet.layers import Activation, BlurPool, ConvNorm, SqueezeExcite, divisible, enlarge
from det_mobile.fbnet.spelling import Block

__all__ = ["Inverted", "InvertedResidual", "Surroundings", "build_block"]

_ACTIVATIONS: Mapping[str, Activation] = {
    "relu": F.relu_,
    "hswish": F.hardswish,
    "swish": F.silu,
    "sigmoid": F.sigmoid,
    "hsigmoid": F.hardsigmoid,
}
_INVERTED = re.compile(r"(aa_)?ir_k([357])(_g2)?(_se|_sehsig)?(_hs)?")
_CONVOLUTION = re.compile(r"(aa_)?conv_k([1357])(_hs)?")


@dataclass(frozen=True)
class Surroundings:
    """Settings shared by all blocks of a network.

    Attributes:
        norm: kind of norm after the convolutions.
        width_divisor: numbers of channels within a block are rounded to multiples of this.
    """

    norm: Norm = "BN"
    width_divisor: int = 8


@dataclass(frozen=True)
class Inverted:
    """Options of an inverted residual, by their names in block tables.

    Attributes:
        expansion: expansion factor, the number of middle channels per input channel.
        kernel_size: kernel size of the depthwise convolution, in pixels.
        relu_args: name of the activation function, such as "relu" or "hswish".
        se: gate of squeeze-and-excitation: "sigmoid" or "hsigmoid"; "" for none.
        pw_groups: number of groups of the first 1 x 1 convolution, whose output channels are then shuffled.
        antialiased: whether to blur before downsampling.
        bias: whether the convolutions have a bias.
        dw_skip_bnrelu: whether the depthwise convolution has neither norm nor activation.
        skip_pwl_bn: whether the last convolution has no norm.
        always_pw: whether the first convolution is kept even if it does not change the number of channels.
        less_se_channels: whether to squeeze to a quarter of the input channels instead of the middle channels.
        mid_expand_out: whether `expansion` multiplies the output channels instead of the input channels.
        zero_last_bn_gamma: whether the last norm starts at zero, so that the block starts as identity.
        last_relu: whether an activation follows the addition.
    """

    expansion: float = 6
    kernel_size: int = 3
    relu_args: str = "relu"
    se: str = ""
    pw_groups: int = 1
    antialiased: bool = False
    bias: bool = False
    dw_skip_bnrelu: bool = False
    skip_pwl_bn: bool = False
    always_pw: bool = False
    less_se_channels: bool = False
    mid_expand_out: bool = False
    zero_last_bn_gamma: bool = False
    last_relu: bool = False


class InvertedResidual(nn.Module):
    """A 1 x 1 convolution to more channels, a depthwise one, and a 1 x 1 one back (Sandler et al., MobileNetV2, 2018).

    Args:
        in_channels: number of channels of the input.
        out_channels: number of channels of the output.
        stride: stride of the depthwise convolution; negative to upsample before it.
        how: further options of the block.
        norm: kind of norm after the convolutions; "" for none.
        width_divisor: the number of middle channels is rounded to a multiple of this.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        how: Inverted = Inverted(),
        *,
        norm: Norm = "BN",
        width_divisor: int = 8,
    ) -> None:
        super().__init__()
        middle = divisible((out_channels if how.mid_expand_out else in_channels) * how.expansion, width_divisor)
        act = _ACTIVATIONS[how.relu_args]
        conv = functools.partial(ConvNorm, bias=how.bias)
        self.pw = None
        if middle != in_channels or how.always_pw:
            self.pw = conv(in_channels, middle, 1, groups=how.pw_groups, norm=norm, activation=act)
        self.groups, self.factor = how.pw_groups, max(-stride, 1)
        options: dict[str, Any] = {} if how.dw_skip_bnrelu else {"norm": norm, "activation": act}
        step = max(stride, 1)
        if how.antialiased and step > 1:
            depthwise = conv(middle, middle, how.kernel_size, groups=middle, **options)
            self.dw: nn.Module = nn.Sequential(depthwise, BlurPool(middle, step))
        else:
            self.dw = conv(middle, middle, how.kernel_size, stride=step, groups=middle, **options)
        self.se = None
        if how.se:
            share = 0.25 / how.expansion if how.less_se_channels else 0.25
            squeezed = divisible(int(middle * share), width_divisor)
            self.se = SqueezeExcite(middle, squeezed, act, _ACTIVATIONS[how.se])
        self.pwl = conv(middle, out_channels, 1, norm="" if how.skip_pwl_bn else norm)
        self.residual = stride == 1 and in_channels == out_channels
        if self.residual and how.zero_last_bn_gamma and self.pwl.bn is not None:
            nn.init.zeros_(self.pwl.bn.weight)  # type: ignore[arg-type]
        self.last = act if how.last_relu else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        y = x if self.pw is None else self.pw(x)
        if self.groups > 1:
            y = F.channel_shuffle(y, self.groups)
        if self.factor > 1:
            y = enlarge(y, self.factor)
        y = self.dw(y)
        if self.se is not None:
            y = self.se(y)
        y = self.pwl(y)
        if self.residual:
            y = y + x
        return y if self.last is None else self.last(y)


class PooledResidual(nn.Module):
    """An inverted residual with a global mean for its depthwise convolution, the last block of classifiers."""

    def __init__(self, in_channels: int, out_channels: int, expansion: float, activation: str, around: Surroundings):
        super().__init__()
        middle, act = divisible(in_channels * expansion, around.width_divisor), _ACTIVATIONS[activation]
        self.pw = None
        if middle != in_channels:
            self.pw = ConvNorm(in_channels, middle, 1, norm=around.norm, activation=act)
        self.pwl = ConvNorm(middle, out_channels, 1, activation=act)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, 1, 1)."""
        pooled = F.adaptive_avg_pool2d(x if self.pw is None else self.pw(x), 1)
        projected: Tensor = self.pwl(pooled)
        return projected


class Separable(nn.Module):
    """A depthwise and a 1 x 1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, skip: bool, norm: Norm) -> None:
        super().__init__()
        options: dict[str, Any] = {} if skip else {"norm": norm, "activation": F.relu_}
        self.dw = ConvNorm(in_channels, in_channels, 3, stride=stride, groups=in_channels, **options)
        self.pw = ConvNorm(in_channels, out_channels, 1, norm=norm, activation=F.relu_)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        return self.pw(self.dw(x))


class BasicResidual(nn.Module):
    """Two 3 x 3 convolutions, the second of which has the stride, and the input, resized where it must be."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: Norm) -> None:
        super().__init__()
        plain = stride == 1 and in_channels == out_channels
        conv = functools.partial(ConvNorm, kernel_size=3, bias=True, norm=norm)
        self.conv1 = conv(in_channels, in_channels, activation=F.relu_)
        self.conv2 = conv(in_channels, out_channels, stride=stride)
        self.skip = None if plain else ConvNorm(in_channels, out_channels, 1, stride=stride, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        out = self.conv2(self.conv1(x))
        return F.relu(out + (x if self.skip is None else self.skip(x)))


class Skip(nn.Module):
    """The input itself, or a 1 x 1 convolution where its channels or its stride differ."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv = None
        if in_channels != out_channels or stride != 1:
            self.conv = ConvNorm(in_channels, out_channels, 1, stride=stride, norm="BN", activation=F.relu_)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        return x if self.conv is None else self.conv(x)


def build_block(block: Block, in_channels: int, out_channels: int, around: Surroundings, where: str) -> nn.Module:
    """The module of a block.

    Raises:
        ConfigError: there is no block with this name, or it has no such option.
    """
    if match := _INVERTED.fullmatch(block.op):
        antialiased, size, grouped, gate, hard = match.groups()
        how = Inverted(
            kernel_size=int(size),
            relu_args="hswish" if hard else "relu",
            se={"_se": "sigmoid", "_sehsig": "hsigmoid"}.get(gate or "", ""),
            pw_groups=2 if grouped else 1,
            antialiased=bool(antialiased),
        )
        how, options = _with_options(how, block.options, where), {"norm": around.norm}
        divisor = block.options.get("width_divisor", around.width_divisor)
        return InvertedResidual(in_channels, out_channels, block.stride, how, width_divisor=divisor, **options)
    if match := _CONVOLUTION.fullmatch(block.op):
        antialiased, size, hard = match.groups()
        _require_options(block, where, "bias")
        act, step = F.hardswish if hard else F.relu_, block.stride
        blurred = bool(antialiased) and step > 1
        conv = ConvNorm(
            in_channels,
            out_channels,
            int(size),
            stride=1 if blurred else step,
            bias=block.options.get("bias", True),
            norm=around.norm,
            activation=act,
        )
        return nn.Sequential(conv, BlurPool(out_channels, step)) if blurred else conv
    if block.op not in _OTHERS:
        fix = registry.did_you_mean(block.op, [*_NAMES, *_OTHERS]) or f"there are {', '.join([*_NAMES, *_OTHERS])}"
        raise ConfigError(where, f"there is no block {quoted(block.op)}", fix=fix)
    return _OTHERS[block.op](block, in_channels, out_channels, around, where)


def _with_options(how: Inverted, options: Mapping[str, Any], where: str) -> Inverted:
    types = {field.name: type(getattr(how, field.name)) for field in fields(how)}
    for name, value in options.items():
        if name == "width_divisor":
            continue
        if name not in types:
            fix = registry.did_you_mean(name, types) or f"there are {', '.join(types)}"
            raise ConfigError(where, f"an inverted residual has no option {quoted(name)}", fix=fix)
        numeric = name in ("expansion", "kernel_size", "pw_groups")
        right = isinstance(value, int | float) and value > 0 if numeric else isinstance(value, types[name])
        if not right or (name == "relu_args" and value not in _ACTIVATIONS):
            raise ConfigError(f"{where}.{name}", "is of another kind", f"got {quoted(value, 40)}")
    return replace(how, **{name: value for name, value in options.items() if name != "width_divisor"})


# Options of inverted residuals that a table may give to all its blocks; the others pass them over.
_SHARED = {field.name for field in fields(Inverted)} | {"width_divisor"}


def _require_options(block: Block, where: str, *names: str) -> None:
    if unknown := sorted(block.options.keys() - _SHARED - set(names)):
        raise ConfigError(where, f"{block.op} has no option {quoted(unknown[0])}")


def _pooled(activation: str) -> Callable[..., nn.Module]:
    def build(block: Block, in_channels: int, out_channels: int, around: Surroundings, where: str) -> nn.Module:
        _require_options(block, where)
        return PooledResidual(in_channels, out_channels, block.options.get("expansion", 6), activation, around)

    return build


def _pool(kind: type[nn.Module], default: int) -> Callable[..., nn.Module]:
    def build(block: Block, in_channels: int, out_channels: int, around: Surroundings, where: str) -> nn.Module:
        _require_options(block, where, "kernel_size", "padding")
        if in_channels != out_channels:
            raise ConfigError(where, f"{block.op} keeps the channels", f"got {out_channels} after {in_channels}")
        size = block.options.get("kernel_size", default)
        return kind(size, stride=block.stride, padding=block.options.get("padding", 0))

    return build


def _separable(block: Block, in_channels: int, out_channels: int, around: Surroundings, where: str) -> nn.Module:
    _require_options(block, where)
    skip = block.options.get("dw_skip_bnrelu", True)
    return Separable(in_channels, out_channels, block.stride, skip, around.norm)


def _basic(block: Block, in_channels: int, out_channels: int, around: Surroundings, where: str) -> nn.Module:
    _require_options(block, where)
    return BasicResidual(in_channels, out_channels, block.stride, around.norm)


def _skip(block: Block, in_channels: int, out_channels: int, around: Surroundings, where: str) -> nn.Module:
    _require_options(block, where)
    return Skip(in_channels, out_channels, block.stride)


_NAMES = ("ir_k3", "ir_k5", "ir_k3_se", "ir_k5_se", "ir_k3_hs", "ir_k3_sehsig_hs", "ir_k3_g2", "aa_ir_k3", "conv_k3")
_OTHERS: Mapping[str, Callable[..., nn.Module]] = {
    "ir_pool": _pooled("relu"),
    "ir_pool_hs": _pooled("hswish"),
    "dc_k3": _separable,
    "res_k3": _basic,
    "skip": _skip,
    "maxpool": _pool(nn.MaxPool2d, 3),
    "avgpool": _pool(nn.AvgPool2d, 2),
}
