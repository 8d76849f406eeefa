"""One-stage detectors: a backbone, and a head that looks at every feature pixel."""

from collections.abc import Sequence
from typing import Literal, cast

from torch import Tensor, nn

from det_core.contracts import Backbone, DenseHead
from det_core.models.detectors.rcnn import IMAGENET_MEAN, IMAGENET_STD, Colour, Normalise, one_per_image
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Prediction, Targets

__all__ = ["DenseDetector"]


class DenseDetector(nn.Module):
    """A one-stage detector, such as RetinaNet (Lin et al., 2017) or FCOS (Tian et al., 2019): its head says which.

    Args:
        backbone: the network that makes feature maps.
        head: built with `channels`, `strides` and `num_classes`.
        num_classes: there is no background class.
        pixel_mean: subtracted from values in 0..255, in the order of `channel_order`; by default ImageNet's, for RGB.
        pixel_std: divides the rest, in the same order.
        channel_order: what the backbone's weights want. Images are given as RGB all the same.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Factory[DenseHead],
        num_classes: int,
        *,
        pixel_mean: Colour = IMAGENET_MEAN,
        pixel_std: Colour = IMAGENET_STD,
        channel_order: Literal["RGB", "BGR"] = "RGB",
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.normalise = Normalise(pixel_mean, pixel_std, channel_order, backbone.size_divisibility)
        self.backbone = cast(nn.Module, backbone)
        built = Factory.of(head)(channels=backbone.channels, strides=backbone.strides, num_classes=num_classes)
        self.head = cast(nn.Module, built)

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`: the losses of the head. Without: detections in the pixels of the images as given."""
        outputs = self.head(self.backbone(self.normalise(batch)))
        head = cast(DenseHead, self.head)
        if targets is None:
            return [Prediction(detections=detections) for detections in head.decode(outputs, batch.sizes)]
        return head.losses(outputs, batch.sizes, one_per_image(batch, targets))
