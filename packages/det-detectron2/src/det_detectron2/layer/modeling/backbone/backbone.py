"""The base of backbones, as `detectron2.modeling.backbone.backbone`."""

from abc import ABCMeta, abstractmethod
from typing import Any

from torch import Tensor, nn

from det_detectron2.layer.layers import ShapeSpec

__all__ = ["Backbone"]


class Backbone(nn.Module, metaclass=ABCMeta):
    """Makes feature maps by name of images (N, C, H, W).

    Subclasses set `_out_features`, `_out_feature_channels` and `_out_feature_strides`, or give `output_shape`.
    """

    _out_features: list[str]
    _out_feature_channels: dict[str, int]
    _out_feature_strides: dict[str, int]

    def __init__(self) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Feature maps by name."""

    @property
    def size_divisibility(self) -> int:
        """What height and width of the input must be multiples of; 0 for anything."""
        return 0

    @property
    def padding_constraints(self) -> dict[str, int]:
        """How inputs are padded, for `ImageList.from_tensors`: "square_size", "size_divisibility"."""
        return {}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each feature map."""
        return {
            name: ShapeSpec(channels=self._out_feature_channels[name], stride=self._out_feature_strides[name])
            for name in self._out_features
        }

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As of any module."""
        return super().__call__(*args, **kwargs)
