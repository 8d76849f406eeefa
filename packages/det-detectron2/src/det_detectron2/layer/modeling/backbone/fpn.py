"""Feature pyramids (Lin et al., 2017), as `detectron2.modeling.backbone.fpn`."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from det_core.ops.layers import draw_weights
from torch import Tensor, nn
from torch.nn import functional as F

from det_detectron2.layer.layers import Conv2d, ShapeSpec, get_norm
from det_detectron2.layer.modeling.backbone.backbone import Backbone
from det_detectron2.layer.modeling.backbone.build import BACKBONE_REGISTRY
from det_detectron2.layer.modeling.backbone.resnet import build_resnet_backbone

__all__ = [
    "FPN",
    "LastLevelMaxPool",
    "LastLevelP6P7",
    "build_resnet_fpn_backbone",
    "build_retinanet_resnet_fpn_backbone",
]


class FPN(Backbone):
    """Adds coarse maps to fine ones; all have the same channels, and names by the logarithm of their strides.

    Args:
        bottom_up: bottom-up backbone.
        in_features: names of the input feature maps of `bottom_up`, finest first.
        out_channels: number of channels of all maps.
        norm: kind of norm of the convolutions.
        top_block: module that computes additional coarse levels, such as `LastLevelMaxPool`.
        fuse_type: fusion of top-down and lateral features, "sum" or "avg".
        square_pad: side in pixels of the square that images are padded to; 0 for none.
    """

    _fuse_type: str

    def __init__(
        self,
        bottom_up: Backbone,
        in_features: Sequence[str],
        out_channels: int,
        norm: Any = "",
        top_block: Any = None,
        fuse_type: str = "sum",
        square_pad: int = 0,
    ) -> None:
        super().__init__()
        assert isinstance(bottom_up, Backbone)
        assert in_features, in_features
        assert fuse_type in ("avg", "sum"), fuse_type
        shapes = bottom_up.output_shape()
        strides = [int(shapes[name].stride or 0) for name in in_features]
        for low, high in itertools.pairwise(strides):
            assert high == 2 * low, f"Strides {low} {high} are not log2 contiguous"
        lateral, output = [], []
        for name, stride in zip(in_features, strides, strict=True):
            level, bias = int(math.log2(stride)), norm == ""
            current = Conv2d(
                shapes[name].channels, out_channels, kernel_size=1, bias=bias, norm=get_norm(norm, out_channels)
            )
            out = Conv2d(
                out_channels, out_channels, kernel_size=3, padding=1, bias=bias, norm=get_norm(norm, out_channels)
            )
            for layer, kind in ((current, "lateral"), (out, "output")):
                draw_weights(layer, "uniform")
                self.add_module(f"fpn_{kind}{level}", layer)
            lateral.append(current)
            output.append(out)
        self.lateral_convs, self.output_convs = lateral[::-1], output[::-1]
        self.top_block, self.in_features, self.bottom_up = top_block, tuple(in_features), bottom_up
        self._out_feature_strides = {f"p{int(math.log2(stride))}": stride for stride in strides}
        if top_block is not None:
            level = int(math.log2(strides[-1]))
            for more in range(level, level + top_block.num_levels):
                self._out_feature_strides[f"p{more + 1}"] = 2 ** (more + 1)
        self._out_features = list(self._out_feature_strides)
        self._out_feature_channels = dict.fromkeys(self._out_features, out_channels)
        self._size_divisibility, self._square_pad, self._fuse_type = strides[-1], square_pad, fuse_type

    @property
    def size_divisibility(self) -> int:
        """The coarsest stride of the backbone underneath."""
        return self._size_divisibility

    @property
    def padding_constraints(self) -> dict[str, int]:
        """For `ImageList.from_tensors`."""
        return {"square_size": self._square_pad}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images (N, C, H, W) to maps by name, "p2", "p3", ..."""
        below = self.bottom_up(x)
        previous = self.lateral_convs[0](below[self.in_features[-1]])
        results = [self.output_convs[0](previous)]
        rest = zip(self.in_features[-2::-1], self.lateral_convs[1:], self.output_convs[1:], strict=True)
        for name, lateral, output in rest:
            above = F.interpolate(previous, scale_factor=2.0, mode="nearest")
            previous = lateral(below[name]) + above
            if self._fuse_type == "avg":
                previous = previous / 2
            results.insert(0, output(previous))
        if self.top_block is not None:
            name = self.top_block.in_feature
            source = below[name] if name in below else results[self._out_features.index(name)]
            results.extend(self.top_block(source))
        assert len(self._out_features) == len(results)
        return dict(zip(self._out_features, results, strict=True))


class LastLevelMaxPool(nn.Module):
    """P6, as every second pixel of P5."""

    def __init__(self) -> None:
        super().__init__()
        self.num_levels = 1
        self.in_feature = "p5"

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, C, H, W) to one map of half the size."""
        return [F.max_pool2d(x, kernel_size=1, stride=2, padding=0)]


class LastLevelP6P7(nn.Module):
    """P6 and P7 of RetinaNet, by convolutions of stride 2.

    Args:
        in_channels: number of channels of the input.
        out_channels: number of channels of the maps.
        in_feature: name of the input feature map.
    """

    def __init__(self, in_channels: int, out_channels: int, in_feature: str = "res5") -> None:
        super().__init__()
        self.num_levels, self.in_feature = 2, in_feature
        self.p6 = nn.Conv2d(in_channels, out_channels, 3, 2, 1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, 2, 1)
        for layer in (self.p6, self.p7):
            draw_weights(layer, "uniform")

    def forward(self, c5: Tensor) -> list[Tensor]:
        """(N, C, H, W) to two maps, of half and of a quarter of the size."""
        p6 = self.p6(c5)
        return [p6, self.p7(F.relu(p6))]


@BACKBONE_REGISTRY.register()
def build_resnet_fpn_backbone(cfg: Any, input_shape: ShapeSpec) -> FPN:
    """A pyramid over a ResNet, with P6 by pooling."""
    current = cfg.MODEL.FPN
    return FPN(
        build_resnet_backbone(cfg, input_shape),
        current.IN_FEATURES,
        current.OUT_CHANNELS,
        norm=current.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=current.FUSE_TYPE,
    )


@BACKBONE_REGISTRY.register()
def build_retinanet_resnet_fpn_backbone(cfg: Any, input_shape: ShapeSpec) -> FPN:
    """A pyramid over a ResNet, with P6 and P7 by convolutions."""
    current, bottom_up = cfg.MODEL.FPN, build_resnet_backbone(cfg, input_shape)
    channels = bottom_up.output_shape()["res5"].channels or 0
    return FPN(
        bottom_up,
        current.IN_FEATURES,
        current.OUT_CHANNELS,
        norm=current.NORM,
        top_block=LastLevelP6P7(channels, current.OUT_CHANNELS),
        fuse_type=current.FUSE_TYPE,
    )
