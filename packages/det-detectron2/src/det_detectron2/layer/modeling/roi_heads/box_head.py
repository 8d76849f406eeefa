"""Box heads, as `detectron2.modeling.roi_heads.box_head`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from det_core.ops.layers import draw_weights
from torch import Tensor, nn

from det_detectron2.layer.config import configurable
from det_detectron2.layer.layers import Conv2d, ShapeSpec, get_norm
from det_detectron2.layer.utils.registry import Registry

__all__ = ["ROI_BOX_HEAD_REGISTRY", "FastRCNNConvFCHead", "build_box_head"]

ROI_BOX_HEAD_REGISTRY = Registry("ROI_BOX_HEAD")
"""Modules of `(cfg, input_shape)` with an `output_shape`."""


@ROI_BOX_HEAD_REGISTRY.register()
class FastRCNNConvFCHead(nn.Sequential):
    """3 x 3 convolutions, then fully connected layers, each with a ReLU.

    Args:
        input_shape: shape of the pooled features.
        conv_dims: output channels of the convolutions.
        fc_dims: output features of the fully connected layers.
        conv_norm: kind of norm of the convolutions.
    """

    @configurable
    def __init__(
        self, input_shape: ShapeSpec, *, conv_dims: Sequence[int], fc_dims: Sequence[int], conv_norm: Any = ""
    ) -> None:
        super().__init__()
        assert len(conv_dims) + len(fc_dims) > 0
        size: Any = (input_shape.channels, input_shape.height, input_shape.width)
        self.conv_norm_relus, self.fcs = [], []
        for place, dim in enumerate(conv_dims, 1):
            conv = Conv2d(
                size[0], dim, kernel_size=3, padding=1, bias=not conv_norm, norm=get_norm(conv_norm, dim),
                activation=nn.ReLU(),
            )  # fmt: skip
            self.add_module(f"conv{place}", conv)
            self.conv_norm_relus.append(conv)
            size = (dim, size[1], size[2])
        for place, dim in enumerate(fc_dims, 1):
            if place == 1:
                self.add_module("flatten", nn.Flatten())
            layer = nn.Linear(int(np.prod(size)), dim)
            self.add_module(f"fc{place}", layer)
            self.add_module(f"fc_relu{place}", nn.ReLU())
            self.fcs.append(layer)
            size = dim
        self._output_size = size
        for conv in self.conv_norm_relus:
            draw_weights(conv, "relu")
        for layer in self.fcs:
            draw_weights(layer, "uniform")

    @classmethod
    def from_config(cls, cfg: Any, input_shape: ShapeSpec) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        current = cfg.MODEL.ROI_BOX_HEAD
        return {
            "input_shape": input_shape,
            "conv_dims": [current.CONV_DIM] * current.NUM_CONV,
            "fc_dims": [current.FC_DIM] * current.NUM_FC,
            "conv_norm": current.NORM,
        }

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, H, W) to (P, width), or to (P, C', H, W) without fully connected layers."""
        for layer in self:
            x = layer(x)
        return x

    @property
    def output_shape(self) -> ShapeSpec:
        """Of the output."""
        size = self._output_size
        if isinstance(size, int):
            return ShapeSpec(channels=size)
        return ShapeSpec(channels=size[0], height=size[1], width=size[2])


def build_box_head(cfg: Any, input_shape: ShapeSpec) -> Any:
    """The head that MODEL.ROI_BOX_HEAD.NAME names."""
    return ROI_BOX_HEAD_REGISTRY.get(cfg.MODEL.ROI_BOX_HEAD.NAME)(cfg, input_shape)
