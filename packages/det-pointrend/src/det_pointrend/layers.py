"""The small networks behind the heads: one for a region as a whole, and those that answer for single points."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from det_core.errors import ConfigError
from det_core.ops.layers import Conv2d, draw_weights
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ConvFCHead", "ImplicitPointHead", "RegionLayers", "StandardPointHead"]

# Numbers that stand for a place: a sine and a cosine of each frequency.
_FREQUENCIES = 128


@dataclass(frozen=True)
class RegionLayers:
    """The layers that condense a region's features.

    Attributes:
        resolution: side of the grid on which a region's features are read.
        conv_dim: channels of the convolution.
        fc_dim: width of the hidden layers.
        num_fc: number of hidden layers.
    """

    resolution: int = 14
    conv_dim: int = 256
    fc_dim: int = 1024
    num_fc: int = 2

    def build(self, in_channels: int, out_shape: tuple[int, ...]) -> "ConvFCHead":
        """The head from features (R, in_channels, resolution, resolution) to (R, *out_shape)."""
        return ConvFCHead(
            in_channels,
            self.resolution,
            out_shape,
            conv_dim=self.conv_dim,
            fc_dim=self.fc_dim,
            num_fc=self.num_fc,
        )


class ConvFCHead(nn.Module):
    """Condenses the features of each region with convolutions and answers with one long linear layer.

    Args:
        in_channels: of the features.
        resolution: their side.
        shape: of the answer for each region.
        conv_dim: channels after the first convolution, which is left out where there are no more of them before.
        fc_dim: width of the hidden layers.
        num_fc: how many there are.
    """

    def __init__(
        self,
        in_channels: int,
        resolution: int,
        shape: Sequence[int],
        *,
        conv_dim: int = 256,
        fc_dim: int = 1024,
        num_fc: int = 2,
    ) -> None:
        super().__init__()
        if resolution < 2 or num_fc < 1:
            found = f"got {resolution} and {num_fc}"
            raise ConfigError("ConvFCHead", "needs a resolution of at least 2 and at least one hidden layer", found)
        self.shape = tuple(shape)
        width = in_channels
        if width > conv_dim:
            self.reduce_channel_dim_conv = Conv2d(width, conv_dim, 1, activation=F.relu)
            width = conv_dim
        self.reduce_spatial_dim_conv = Conv2d(width, width, 2, stride=2, activation=F.relu)
        width *= (resolution // 2) ** 2
        self._fcs = [f"fc{i + 1}" for i in range(num_fc)]
        for name in self._fcs:
            layer = nn.Linear(width, fc_dim)
            draw_weights(layer, "uniform")
            self.add_module(name, layer)
            width = fc_dim
        self.prediction = nn.Linear(width, math.prod(self.shape))
        draw_weights(self.prediction, 0.001)
        for module in self.modules():
            if isinstance(module, Conv2d):
                _start(module)

    def forward(self, pooled: Tensor) -> Tensor:
        """(R, in_channels, resolution, resolution) to (R, *shape)."""
        reduce = getattr(self, "reduce_channel_dim_conv", None)
        x = self.reduce_spatial_dim_conv(pooled if reduce is None else reduce(pooled)).flatten(1)
        for name in self._fcs:
            x = F.relu(self.get_submodule(name)(x))
        answer: Tensor = self.prediction(x).unflatten(1, self.shape)
        return answer


class StandardPointHead(nn.Module):
    """Decides for each point from the features there and the coarse answer there.

    Args:
        in_channels: of the features.
        num_classes: of the coarse answer.
        fc_dim: width of the hidden layers.
        num_fc: how many there are.
        coarse_each_layer: show the coarse answer to every layer, not only to the first.
        class_agnostic: one answer for each point instead of one for each class.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        fc_dim: int = 256,
        num_fc: int = 3,
        coarse_each_layer: bool = True,
        class_agnostic: bool = False,
    ) -> None:
        super().__init__()
        self.coarse_each_layer = coarse_each_layer
        width = in_channels + num_classes
        self._fcs = [f"fc{i + 1}" for i in range(num_fc)]
        for name in self._fcs:
            layer = nn.Conv1d(width, fc_dim, 1)
            _start(layer)
            self.add_module(name, layer)
            width = fc_dim + (num_classes if coarse_each_layer else 0)
        self.predictor = nn.Conv1d(width, 1 if class_agnostic else num_classes, 1)
        draw_weights(self.predictor, 0.001)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Features (R, in_channels, P) and coarse answers (R, num_classes, P) to logits (R, num_classes or 1, P)."""
        x = torch.cat((fine, coarse), dim=1)
        for name in self._fcs:
            x = F.relu(self.get_submodule(name)(x))
            if self.coarse_each_layer:
                x = torch.cat((x, coarse), dim=1)
        logits: Tensor = self.predictor(x)
        return logits


class ImplicitPointHead(nn.Module):
    """Decides for each point with a network of its region's own, whose weights are given.

    Args:
        in_channels: of the features at a point.
        num_classes: how many answers there are for each point.
        fc_dim: width of the hidden layers.
        num_fc: how many there are.
        class_agnostic: one answer for each point instead of one for each class.
        image_features: whether the networks see the features at a point.
        positions: whether they see where in its region a point is.

    Attributes:
        num_params: how many weights the network of a region has.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        fc_dim: int = 256,
        num_fc: int = 3,
        class_agnostic: bool = False,
        image_features: bool = True,
        positions: bool = True,
    ) -> None:
        super().__init__()
        if num_fc < 1 or not (image_features or positions):
            raise ConfigError(
                "ImplicitPointHead", "RegionLayers", "needs a hidden layer, and features or positions to look at"
            )
        self.image_features, self.positions = image_features, positions
        width = (in_channels if image_features else 0) + (2 * _FREQUENCIES if positions else 0)
        if positions:
            self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, _FREQUENCIES))
        outputs = [fc_dim] * num_fc + [1 if class_agnostic else num_classes]
        self._shapes = list(zip(outputs, [width, *outputs[:-1]], strict=True))
        self.num_params = sum(wide * (deep + 1) for wide, deep in self._shapes)

    positional_encoding_gaussian_matrix: Tensor

    def forward(self, fine: Tensor, points: Tensor, parameters: Tensor) -> Tensor:
        """The logits of points, (R, num_classes or 1, P).

        Features (R, in_channels, P), shares of the regions (R, P, 2), and the weights of their networks
        (R, num_params): first the matrices of all layers, then their biases.
        """
        seen = [fine] if self.image_features else []
        if self.positions:
            # Random Fourier features (Tancik et al., 2020) of places from -1 to 1.
            turns = 2 * math.pi * ((2 * points - 1) @ self.positional_encoding_gaussian_matrix)
            seen.insert(0, torch.cat((turns.sin(), turns.cos()), dim=-1).transpose(1, 2).to(fine.dtype))
        x = torch.cat(seen, dim=1)
        sizes = [wide * deep for wide, deep in self._shapes] + [wide for wide, _ in self._shapes]
        parts = parameters.to(x.dtype).split(sizes, dim=1)
        count = len(self._shapes)
        for layer, (shape, weight, bias) in enumerate(zip(self._shapes, parts[:count], parts[count:], strict=True)):
            x = torch.baddbmm(bias[..., None], weight.unflatten(1, shape), x)
            if layer < count - 1:
                x = F.relu(x)
        return x


def _start(layer: nn.Conv1d | nn.Conv2d) -> None:
    draw_weights(layer, "relu")
