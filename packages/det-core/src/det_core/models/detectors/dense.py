"""One-stage detectors: a backbone, and a head that predicts at every feature pixel."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from det_core.contracts import Backbone, DenseHead, Preprocess
from det_core.models.parts.nms import NMS
from det_core.models.parts.preprocess import Normalize
from det_core.models.parts.targets import filter_targets
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Prediction, Targets

__all__ = ["DenseDetector"]


class DenseDetector(nn.Module):
    """A one-stage detector, such as RetinaNet (Lin et al., 2017) or FCOS (Tian et al., 2019), depending on its head.

    Args:
        backbone: network from images to feature maps.
        head: dense head, built with `channels`, `strides` and `num_classes`.
        num_classes: number of foreground classes, without background.
        preprocess: built with the backbone's `divisibility`; by default ImageNet's mean and deviation, for RGB.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Factory[DenseHead],
        num_classes: int,
        *,
        preprocess: Factory[Preprocess] = Factory(Normalize),
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.preprocess = cast(nn.Module, Factory.of(preprocess)(divisibility=backbone.size_divisibility))
        self.backbone = cast(nn.Module, backbone)
        built = Factory.of(head)(channels=backbone.channels, strides=backbone.strides, num_classes=num_classes)
        self.head = cast(nn.Module, built)

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`: losses of the head. Without: detections in the coordinates of the input images."""
        outputs = self.head(self.backbone(self.preprocess(batch)))
        head = cast(DenseHead, self.head)
        if targets is None:
            return [Prediction(detections=detections) for detections in head.decode(outputs, batch.sizes)]
        return head.losses(outputs, batch.sizes, filter_targets(batch, targets))

    @property
    def nms(self) -> NMS:
        """NMS settings; AttributeError if the head has none."""
        return cast(NMS, self.head.nms)

    def networks(self) -> list[nn.Module]:
        """As `det_core.contracts.Compilable`: the backbone, and the head before decoding."""
        return [self.backbone, self.head]
