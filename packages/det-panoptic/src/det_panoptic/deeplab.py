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
    """Pyramid pooling on the coarsest level, and a class for every cell.

    Args:
        channels: level -> channels, from the backbone.
        strides: level -> stride, from the backbone.
        num_classes: of pixels.
        in_feature: the level; by default the last.
        aspp_channels: of the pyramid pooling.
        aspp_dilations: see `ASPP`.
        aspp_dropout: see `ASPP`.
        norm: of the convolutions.
        train_size: (height, width) of the training images, which decides how far the image is pooled; None pools all.
        separable: depthwise separable convolutions.
        pixel_loss: the loss of pixels.
        loss_weight: weight of the loss.
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
        """Class scores before the softmax, float32 (B, num_classes, H, W) in the pixels of the padded batch."""
        return enlarge(self.predictor(self.aspp(features[self.in_feature])), self.stride)

    def losses(self, features: Mapping[str, Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """{"loss_sem_seg"}; the classes of each image, int64 (H_i, W_i)."""
        return {"loss_sem_seg": self._loss(self(features), targets) * self.loss_weight}


class DeepLabDecoder(nn.Module):
    """Pyramid pooling on the coarsest level, joined with finer ones step by step; each level is a part of its name.

    Args:
        channels: level -> channels, from the backbone.
        strides: level -> stride, from the backbone.
        in_features: the levels, finest first; None for the finest and the coarsest.
        project_channels: what each level but the coarsest is condensed to.
        decoder_channels: of the output, and of each step before.
        aspp_channels: see `DeepLabV3Head`, as all that follow.
        aspp_dilations: see `ASPP`.
        aspp_dropout: see `ASPP`.
        norm: of the convolutions.
        train_size: see `DeepLabV3Head`.
        separable: one depthwise separable convolution of 5 x 5 in place of two of 3 x 3.

    Attributes:
        stride: stride of the output, that of the finest level.
        out_channels: channels of the output.
        norm: norm of its convolutions, as given.
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
            joined = projected + below
            fuse: nn.Module = (
                DepthwiseSeparableConv2d(joined, decoder_channels, 5, norm)
                if separable
                else nn.Sequential(
                    conv(joined, decoder_channels, 3, norm), conv(decoder_channels, decoder_channels, 3, norm)
                )
            )
            stages[name] = {"project_conv": conv(channels[name], projected, 1, norm), "fuse_conv": fuse}
            below = decoder_channels
        for name in self.in_features:
            self.add_module(name, nn.ModuleDict(stages[name]))

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Levels to (B, decoder_channels, H, W) of the finest."""
        *finer, coarsest = self.in_features
        out: Tensor = self.get_submodule(f"{coarsest}.project_conv")(features[coarsest])
        for name in reversed(finer):
            own = self.get_submodule(f"{name}.project_conv")(features[name])
            out = F.interpolate(out, size=own.shape[-2:], mode="bilinear", align_corners=False)
            out = self.get_submodule(f"{name}.fuse_conv")(torch.cat((own, out), dim=1))
        return out


class DeepLabV3PlusHead(nn.Module):
    """A decoder, and a class for every cell of the finest level.

    Args:
        channels: level -> channels, from the backbone.
        strides: level -> stride, from the backbone.
        num_classes: of pixels.
        decoder: built with `channels` and `strides`.
        pixel_loss: the loss of pixels.
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
        """Class scores before the softmax, float32 (B, num_classes, H, W) in the pixels of the padded batch."""
        return enlarge(self.predictor(self.decoder(features)), self.decoder.stride)

    def losses(self, features: Mapping[str, Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """{"loss_sem_seg"}; the classes of each image, int64 (H_i, W_i)."""
        return {"loss_sem_seg": self._loss(self(features), targets) * self.loss_weight}


def predictor(in_channels: int, out_channels: int) -> nn.Conv2d:
    """The last convolution, drawn so small that training starts from indifference."""
    layer = nn.Conv2d(in_channels, out_channels, 1)
    draw_weights(layer, 0.001)
    return layer


def enlarge(x: Tensor, stride: int) -> Tensor:
    """A map (B, C, H, W) as float32, `stride` times as high and wide."""
    return F.interpolate(x.float(), scale_factor=stride, mode="bilinear", align_corners=False)


def used_levels(where: str, strides: Mapping[str, int], names: Sequence[str]) -> tuple[str, ...]:
    """The chosen levels, finest first.

    Raises:
        ConfigError: there is none, or one that the backbone has not.
    """
    if not names or any(name not in strides for name in names):
        raise ConfigError(where, "must name levels of the backbone", f"got {names}; there are {', '.join(strides)}")
    return tuple(sorted(names, key=lambda name: strides[name]))
