"""Two-stage detectors: a backbone, a proposal generator, and heads that look at the proposals."""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from det_core.contracts import Backbone, ProposalGenerator, ROIHeads
from det_core.errors import StructureError
from det_core.models.heads.roi import StandardROIHeads
from det_core.models.heads.rpn import RPN
from det_core.ops.geometry import nonempty
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Prediction, Proposals, Targets

__all__ = ["RCNN", "ProposalNetwork", "faster_rcnn"]

Colour = tuple[float, float, float]
IMAGENET_MEAN: Colour = (123.675, 116.28, 103.53)  # of ImageNet, as torchvision's weights expect it: red, green, blue
IMAGENET_STD: Colour = (58.395, 57.12, 57.375)


class Normalise(nn.Module):
    """Brings a batch of RGB images into the range that a backbone was trained for.

    Args:
        mean: subtracted from values in 0..255, in the order of `channel_order`.
        std: divides the rest, in the same order.
        channel_order: what the backbone wants; images are always given as RGB.
        divisibility: height and width are padded to multiples of this.
    """

    def __init__(self, mean: Colour, std: Colour, channel_order: Literal["RGB", "BGR"], divisibility: int) -> None:
        super().__init__()
        self.flip, self.divisibility = channel_order == "BGR", divisibility
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1), persistent=False)

    mean: Tensor
    std: Tensor

    def forward(self, batch: ImageBatch) -> Tensor:
        """Float32 (B, 3, H, W) with H and W multiples of the divisibility, zeros outside each image."""
        pixels = batch.pixels.flip(1) if self.flip else batch.pixels
        pixels = (pixels - self.mean) / self.std
        height, width = pixels.shape[-2:]
        pixels = F.pad(pixels, (0, -width % self.divisibility, 0, -height % self.divisibility))
        for image, size in zip(pixels, batch.sizes, strict=True):
            if size != (height, width):
                image[:, size[0] :] = 0
                image[:, :, size[1] :] = 0
        return pixels


class RCNN(nn.Module):
    """A two-stage detector, Faster R-CNN (Ren et al., 2015) and what grew out of it.

    Args:
        backbone: the network that makes feature maps.
        proposal_generator: built with `channels` and `strides`; None takes the proposals that come with the images, as
            Fast R-CNN does (Girshick, 2015).
        roi_heads: built with `channels`, `strides` and `num_classes`.
        num_classes: without the background.
        pixel_mean: subtracted from values in 0..255, in the order of `channel_order`; by default ImageNet's, for RGB.
        pixel_std: divides the rest, in the same order.
        channel_order: what the backbone's weights want. Images are given as RGB all the same.
    """

    def __init__(
        self,
        backbone: Backbone,
        proposal_generator: Factory[ProposalGenerator] | None,
        roi_heads: Factory[ROIHeads],
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
        known = {"channels": backbone.channels, "strides": backbone.strides}
        self.proposal_generator: nn.Module | None = None
        if proposal_generator is not None:
            self.proposal_generator = cast(nn.Module, Factory.of(proposal_generator)(**known))
        self.roi_heads = Factory.of(roi_heads)(**known, num_classes=num_classes)

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`: the losses of both stages. Without: detections in the pixels of the images as given."""
        features = self.backbone(self.normalise(batch))
        if targets is None:
            proposals, _ = self._propose(features, batch)
            found = self.roi_heads.predict(features, proposals, batch.sizes)
            return [Prediction(detections=detections) for detections in found]
        truth = one_per_image(batch, targets)
        proposals, losses = self._propose(features, batch, truth)
        return {**losses, **self.roi_heads.losses(features, proposals, truth, batch.sizes)}

    def _propose(
        self, features: dict[str, Tensor], batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> tuple[Sequence[Proposals], dict[str, Tensor]]:
        if self.proposal_generator is not None:
            found: tuple[list[Proposals], dict[str, Tensor]] = self.proposal_generator(features, batch.sizes, targets)
            return found
        if batch.proposals is None:
            fix = "name a dataset that brings a file of them, det_core.data:WithProposals, or a proposal_generator"
            raise StructureError("ImageBatch.proposals", "are needed: this model does not find its own", fix=fix)
        return batch.proposals, {}


class ProposalNetwork(nn.Module):
    """A proposal generator alone, trained to find objects of any class.

    Args:
        backbone: the network that makes feature maps.
        proposal_generator: built with `channels` and `strides`.
        num_classes: of the data it is trained on; proposals do not tell them apart.
        pixel_mean: as in `RCNN`.
        pixel_std: as in `RCNN`.
        channel_order: as in `RCNN`.
    """

    def __init__(
        self,
        backbone: Backbone,
        proposal_generator: Factory[ProposalGenerator] = Factory(RPN),
        num_classes: int = 1,
        *,
        pixel_mean: Colour = IMAGENET_MEAN,
        pixel_std: Colour = IMAGENET_STD,
        channel_order: Literal["RGB", "BGR"] = "RGB",
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.normalise = Normalise(pixel_mean, pixel_std, channel_order, backbone.size_divisibility)
        self.backbone = cast(nn.Module, backbone)
        built = Factory.of(proposal_generator)(channels=backbone.channels, strides=backbone.strides)
        self.proposal_generator = cast(nn.Module, built)

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`: the losses. Without: proposals in the pixels of the images as given."""
        features = self.backbone(self.normalise(batch))
        if targets is None:
            proposals, _ = self.proposal_generator(features, batch.sizes)
            return [Prediction(proposals=found) for found in proposals]
        losses: dict[str, Tensor]
        _, losses = self.proposal_generator(features, batch.sizes, one_per_image(batch, targets))
        return losses


def faster_rcnn(
    backbone: Backbone,
    num_classes: int,
    *,
    proposal_generator: Factory[ProposalGenerator] | None = Factory(RPN),
    roi_heads: Factory[ROIHeads] = Factory(StandardROIHeads),
    pixel_mean: Colour = IMAGENET_MEAN,
    pixel_std: Colour = IMAGENET_STD,
    channel_order: Literal["RGB", "BGR"] = "RGB",
) -> RCNN:
    """Faster R-CNN as published for feature pyramids; the arguments are those of `RCNN`."""
    return RCNN(
        backbone,
        proposal_generator,
        roi_heads,
        num_classes,
        pixel_mean=pixel_mean,
        pixel_std=pixel_std,
        channel_order=channel_order,
    )


def one_per_image(batch: ImageBatch, targets: Sequence[Targets]) -> list[Targets]:
    """The targets without crowd regions and objects without area, which are never learnt from."""
    if len(targets) != len(batch):
        raise StructureError("targets", "must be one per image", f"got {len(targets)} for {len(batch)} images")
    return [nonempty(truth.without_crowd()) for truth in targets]
