"""Small networks of the heads: fully connected layers per region, and point heads."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from det_core.errors import ConfigError
from det_core.ops.layers import Conv2d, draw_weights
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ConvFCHead", "ImplicitPointHead", "RegionLayers", "StandardPointHead"]

# Number of Fourier frequencies of the position encoding, with a sine and a cosine each.
_FREQUENCIES = 128


@dataclass(frozen=True)
class RegionLayers:
    """The fully connected layers of a region.

    Attributes:
        resolution: side of the grid on which the region features are sampled.
        conv_dim: output channels of the convolution.
        fc_dim: channels of the hidden layers.
        num_fc: number of hidden fully connected layers.
    """

    resolution: int = 14
    conv_dim: int = 256
    fc_dim: int = 1024
    num_fc: int = 2

    def build(self, in_channels: int, out_shape: tuple[int, ...]) -> "ConvFCHead":
        """A head from features (R, in_channels, resolution, resolution) to (R, *out_shape)."""
        return ConvFCHead(
            in_channels,
            self.resolution,
            out_shape,
            conv_dim=self.conv_dim,
            fc_dim=self.fc_dim,
            num_fc=self.num_fc,
        )


class ConvFCHead(nn.Module):
    """Reduces the features of each region by convolutions, then fully connected layers.

    Args:
        in_channels: number of channels of the input.
        resolution: height and width of the input, in cells.
        shape: shape of the output per region.
        conv_dim: output channels of the first convolution, which is skipped if there are not more input channels.
        fc_dim: channels of the hidden layers.
        num_fc: number of hidden fully connected layers.
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
    """Classifies each point from fine features and coarse logits.

    Args:
        in_channels: channels of the fine features.
        num_classes: number of foreground classes, the channels of the coarse logits.
        fc_dim: channels of the hidden layers.
        num_fc: number of hidden layers per point.
        coarse_each_layer: whether the coarse logits enter every layer, or only the first.
        class_agnostic: whether there is one output per point in place of one per class.
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
        """Features (R, in_channels, P) and coarse logits (R, num_classes, P) to logits (R, num_classes or 1, P)."""
        x = torch.cat((fine, coarse), dim=1)
        for name in self._fcs:
            x = F.relu(self.get_submodule(name)(x))
            if self.coarse_each_layer:
                x = torch.cat((x, coarse), dim=1)
        logits: Tensor = self.predictor(x)
        return logits


class ImplicitPointHead(nn.Module):
    """Classifies each point by an MLP with region-specific weights, which are inputs.

    Args:
        in_channels: channels of the point features.
        num_classes: number of foreground classes, without background.
        fc_dim: channels of the hidden layers.
        num_fc: number of hidden layers per point.
        class_agnostic: whether there is one output per point in place of one per class.
        image_features: whether point features are inputs of the MLP.
        positions: whether the position of a point in its region is an input of the MLP.

    Attributes:
        num_params: number of weights of the MLP of a region.
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
                "ImplicitPointHead", "RegionLayers", "needs a hidden layer, and features or positions as input"
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
        """Logits of points, (R, num_classes or 1, P).

        Features (R, in_channels, P), relative coordinates (R, P, 2) in the regions, and the weights of their MLPs
        (R, num_params): first the matrices of all layers, then their biases.
        """
        inputs = [fine] if self.image_features else []
        if self.positions:
            # Random Fourier features (Tancik et al., 2020) of coordinates from -1 to 1.
            turns = 2 * math.pi * ((2 * points - 1) @ self.positional_encoding_gaussian_matrix)
            inputs.insert(0, torch.cat((turns.sin(), turns.cos()), dim=-1).transpose(1, 2).to(fine.dtype))
        x = torch.cat(inputs, dim=1)
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
