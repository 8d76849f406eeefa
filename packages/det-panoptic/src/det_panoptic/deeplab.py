"""The heads of DeepLabv3 (Chen et al., 2017) and DeepLabv3+ (Chen et al., "Encoder-decoder ...", 2018)."""

from collections.abc import Mapping, Sequence

import torch
from det_core.errors import ConfigError
from det_core.ops.layers import Norm, draw_weights
from det_core.recipes import Factory
from torch import Tensor, nn
from torch.nn import functional as F

from det_panoptic.layers import ASPP, DepthwiseSeparableConv2d, conv, pool_size
from det_panoptic.losses import PixelLoss

__all__ = ["DeepLabDecoder", "DeepLabV3Head", "DeepLabV3PlusHead", "enlarge", "predictor", "used_levels"]


class DeepLabV3Head(nn.Module):
    """Atrous spatial pyramid pooling on the coarsest level, and a classifier per cell.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        num_classes: number of classes of pixels.
        in_feature: feature level; by default the last.
        aspp_channels: output channels of the pyramid pooling.
        aspp_dilations: dilations of the three 3 x 3 convolutions of the pyramid pooling.
        aspp_dropout: dropout rate of its output, in [0, 1).
        norm: norm layer of the convolutions.
        train_size: (height, width) of the training images, the window of the image pooling; None to pool the whole
            image.
        separable: whether convolutions are depthwise separable.
        pixel_loss: loss of the logits over the pixels.
        loss_weight: factor on the loss in the sum.
    """

    contract = "SemanticHead"

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        in_feature: str | None = None,
        aspp_channels: int = 256,
        aspp_dilations: Sequence[int] = (6, 12, 18),
        aspp_dropout: float = 0.1,
        norm: Norm = "SyncBN",
        train_size: tuple[int, int] | None = None,
        separable: bool = False,
        pixel_loss: PixelLoss = PixelLoss(),  # noqa: B008 (frozen)
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        (self.in_feature,) = used_levels(
            "DeepLabV3Head.in_feature", strides, [in_feature or max(strides, key=lambda name: strides[name])]
        )
        self.num_classes, self.stride, self.loss_weight = num_classes, strides[self.in_feature], loss_weight
        pool = pool_size("DeepLabV3Head", train_size, self.stride)
        self.aspp = ASPP(
            channels[self.in_feature],
            aspp_channels,
            aspp_dilations,
            norm=norm,
            pool=pool,
            dropout=aspp_dropout,
            separable=separable,
        )
        self.predictor = predictor(aspp_channels, num_classes)
        self._loss = pixel_loss

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Class logits, float32 (B, num_classes, H, W) at the size of the padded batch."""
        return enlarge(self.predictor(self.aspp(features[self.in_feature])), self.stride)

    def losses(self, features: Mapping[str, Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """{"loss_sem_seg"}; `targets` are the classes of each image, int64 (H_i, W_i)."""
        return {"loss_sem_seg": self._loss(self(features), targets) * self.loss_weight}


def _fusion(in_channels: int, channels: int, norm: Norm, separable: bool) -> nn.Module:
    """The convolutions after a concatenation of two levels."""
    if separable:
        return DepthwiseSeparableConv2d(in_channels, channels, 5, norm)
    return nn.Sequential(conv(in_channels, channels, 3, norm), conv(channels, channels, 3, norm))


class DeepLabDecoder(nn.Module):
    """Pyramid pooling on the coarsest level, fused with finer ones step by step; each level is a submodule by its name.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        in_features: feature levels, finest first; None for the finest and the coarsest.
        project_channels: channels to which each level but the coarsest is projected.
        decoder_channels: channels of the output, and of each fusion step before.
        aspp_channels: output channels of the pyramid pooling (`ASPP`).
        aspp_dilations: dilations of the three 3 x 3 convolutions of the pyramid pooling.
        aspp_dropout: dropout rate of the pyramid pooling, in [0, 1).
        norm: norm layer of the convolutions.
        train_size: (height, width) of the training images, the window of the image pooling; None for the whole image.
        separable: whether one depthwise separable 5 x 5 convolution replaces two 3 x 3 ones.

    Attributes:
        stride: stride of the output, that of the finest level.
        out_channels: number of channels of the output.
        norm: norm layer of its convolutions, as given.
        separable: whether they are depthwise separable, as given.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        *,
        in_features: Sequence[str] | None = None,
        project_channels: Sequence[int] = (48,),
        decoder_channels: int = 256,
        aspp_channels: int = 256,
        aspp_dilations: Sequence[int] = (6, 12, 18),
        aspp_dropout: float = 0.1,
        norm: Norm = "SyncBN",
        train_size: tuple[int, int] | None = None,
        separable: bool = False,
    ) -> None:
        super().__init__()
        if in_features is None:
            ordered = sorted(strides, key=lambda name: strides[name])
            in_features = [ordered[0], ordered[-1]]
        *finer, coarsest = self.in_features = used_levels("in_features", strides, in_features)
        if len(project_channels) != len(finer):
            found = f"got {len(project_channels)} for {', '.join(self.in_features)}"
            raise ConfigError("project_channels", "must be one per level but the coarsest", found)
        self.stride, self.out_channels = strides[self.in_features[0]], decoder_channels
        self.norm, self.separable = norm, separable
        below = aspp_channels
        pool = pool_size("DeepLabDecoder", train_size, strides[coarsest])
        aspp = ASPP(
            channels[coarsest],
            aspp_channels,
            aspp_dilations,
            norm=norm,
            pool=pool,
            dropout=aspp_dropout,
            separable=separable,
        )
        stages: dict[str, dict[str, nn.Module]] = {coarsest: {"project_conv": aspp}}
        for name, projected in reversed([*zip(finer, project_channels, strict=True)]):
            fuse = _fusion(projected + below, decoder_channels, norm, separable)
            stages[name] = {"project_conv": conv(channels[name], projected, 1, norm), "fuse_conv": fuse}
            below = decoder_channels
        for name in self.in_features:
            self.add_module(name, nn.ModuleDict(stages[name]))

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Levels to (B, decoder_channels, H, W) of the finest."""
        *finer, coarsest = self.in_features
        out: Tensor = self.get_submodule(f"{coarsest}.project_conv")(features[coarsest])
        for name in reversed(finer):
            projected = self.get_submodule(f"{name}.project_conv")(features[name])
            out = F.interpolate(out, size=projected.shape[-2:], mode="bilinear", align_corners=False)
            out = self.get_submodule(f"{name}.fuse_conv")(torch.cat((projected, out), dim=1))
        return out


class DeepLabV3PlusHead(nn.Module):
    """A decoder, and a classifier per cell of the finest level.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        num_classes: number of classes of pixels.
        decoder: built with `channels` and `strides`.
        pixel_loss: loss of the logits over the pixels.
        loss_weight: weight of the loss.
    """

    contract = "SemanticHead"

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        decoder: Factory[DeepLabDecoder] = Factory(DeepLabDecoder),
        pixel_loss: PixelLoss = PixelLoss(),  # noqa: B008 (frozen)
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.decoder = Factory.of(decoder)(channels=channels, strides=strides)
        self.num_classes, self.loss_weight = num_classes, loss_weight
        self.predictor = predictor(self.decoder.out_channels, num_classes)
        self._loss = pixel_loss

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Class logits, float32 (B, num_classes, H, W) at the size of the padded batch."""
        return enlarge(self.predictor(self.decoder(features)), self.decoder.stride)

    def losses(self, features: Mapping[str, Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """{"loss_sem_seg"}; `targets` are the classes of each image, int64 (H_i, W_i)."""
        return {"loss_sem_seg": self._loss(self(features), targets) * self.loss_weight}


def predictor(in_channels: int, out_channels: int) -> nn.Conv2d:
    """The last convolution, with initial weights so small that all classes start equally likely."""
    layer = nn.Conv2d(in_channels, out_channels, 1)
    draw_weights(layer, 0.001)
    return layer


def enlarge(x: Tensor, stride: int) -> Tensor:
    """A map (B, C, H, W) upsampled by `stride`, in float32."""
    return F.interpolate(x.float(), scale_factor=stride, mode="bilinear", align_corners=False)


def used_levels(where: str, strides: Mapping[str, int], names: Sequence[str]) -> tuple[str, ...]:
    """The levels of these names, finest first.

    Raises:
        ConfigError: no names, or a name that is no level of the backbone.
    """
    if not names or any(name not in strides for name in names):
        raise ConfigError(where, "must name levels of the backbone", f"got {names}; there are {', '.join(strides)}")
    return tuple(sorted(names, key=lambda name: strides[name]))
