"""Panoptic-DeepLab (Cheng et al., 2020): a semantic branch, a centre heatmap and offsets to centres."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from det_core.contracts import Backbone, Exported, Preprocess
from det_core.models.parts.preprocess import Normalize
from det_core.models.parts.targets import filter_targets
from det_core.ops.global_batch import normalizer
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Prediction, Targets
from torch import Tensor, nn

from det_panoptic.deeplab import DeepLabDecoder, enlarge, predictor
from det_panoptic.exporting import BeforeGrouping
from det_panoptic.grouping import Grouping
from det_panoptic.layers import DepthwiseSeparableConv2d, conv
from det_panoptic.losses import PixelLoss, pad_stack
from det_panoptic.segments import segments_of
from det_panoptic.targets import PixelTargets, TargetGenerator

__all__ = ["DenseOutputs", "Instances", "PanopticDeepLab", "PanopticDeepLabInsEmbedHead", "PanopticDeepLabSemSegHead"]


_DECODER: Mapping[str, Any] = {"in_features": ("res2", "res3", "res5"), "project_channels": (32, 64)}


def _branch(decoder: DeepLabDecoder, out_channels: int, ordinary: bool = False) -> nn.Module:
    """Convolutions between the decoder and a predictor; like those of the decoder, or `ordinary` ones."""
    in_channels, norm = decoder.out_channels, decoder.norm
    if decoder.separable and not ordinary:
        return DepthwiseSeparableConv2d(in_channels, out_channels, 5, norm)
    return nn.Sequential(conv(in_channels, in_channels, 3, norm), conv(in_channels, out_channels, 3, norm))


class PanopticDeepLabSemSegHead(nn.Module):
    """The semantic branch: a decoder, and a classifier per cell of the finest level.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        num_classes: number of classes of pixels.
        decoder: built with `channels` and `strides`; the branch takes over its norm and kind of convolutions.
        head_channels: input channels of the predictor.
        pixel_loss: loss of the logits over the pixels.
        loss_weight: factor on the loss in the sum.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        decoder: Factory[DeepLabDecoder] = Factory(DeepLabDecoder, **_DECODER, decoder_channels=256),
        head_channels: int = 256,
        pixel_loss: PixelLoss = PixelLoss(),  # noqa: B008 (frozen)
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.decoder = Factory.of(decoder)(channels=channels, strides=strides)
        self.num_classes, self.loss_weight = num_classes, loss_weight
        self.head = _branch(self.decoder, head_channels)
        self.predictor = predictor(head_channels, num_classes)
        self._loss = pixel_loss

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Class logits, float32 (B, num_classes, H, W) at the size of the padded batch."""
        return enlarge(self.predictor(self.head(self.decoder(features))), self.decoder.stride)

    def losses(
        self, features: Mapping[str, Tensor], targets: Sequence[Tensor], weights: Sequence[Tensor] | None = None
    ) -> dict[str, Tensor]:
        """{"loss_sem_seg"}; the classes of each image, int64 (H_i, W_i), and the weights of its pixels."""
        return {"loss_sem_seg": self._loss(self(features), targets, weights) * self.loss_weight}


class Instances(NamedTuple):
    """Outputs of the instance branch: centre heatmap (B, 1, H, W), offsets (B, 2, H, W), down and across, in pixels."""

    centers: Tensor
    offsets: Tensor


class PanopticDeepLabInsEmbedHead(nn.Module):
    """The instance branch: a centre heatmap, and offsets to the centre of each pixel's thing.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        decoder: built with `channels` and `strides`; the branches take over its norm and kind of convolutions, but the
            convolutions before the centers are ordinary ones.
        head_channels: input channels of each predictor.
        center_loss_weight: weight of the squared error of the centres.
        offset_loss_weight: weight of the absolute error of the offsets, in pixels.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        *,
        decoder: Factory[DeepLabDecoder] = Factory(DeepLabDecoder, **_DECODER, decoder_channels=128),
        head_channels: int = 32,
        center_loss_weight: float = 200.0,
        offset_loss_weight: float = 0.01,
    ) -> None:
        super().__init__()
        self.decoder = Factory.of(decoder)(channels=channels, strides=strides)
        self.center_loss_weight, self.offset_loss_weight = center_loss_weight, offset_loss_weight
        # Names of the published files.
        self.center_head = _branch(self.decoder, head_channels, ordinary=True)
        self.center_predictor = predictor(head_channels, 1)
        self.offset_head = _branch(self.decoder, head_channels)
        self.offset_predictor = predictor(head_channels, 2)

    def forward(self, features: Mapping[str, Tensor]) -> Instances:
        """Levels to maps at the size of the padded batch."""
        x, stride = self.decoder(features), self.decoder.stride
        centers = enlarge(self.center_predictor(self.center_head(x)), stride)
        offsets = enlarge(self.offset_predictor(self.offset_head(x)), stride)
        return Instances(centers, offsets * stride)

    def losses(self, features: Mapping[str, Tensor], targets: Sequence[PixelTargets]) -> dict[str, Tensor]:
        """{"loss_center", "loss_offset"}, each the mean over the pixels with targets; 0 without any."""
        centers, offsets = self(features)

        def mean(errors: Tensor, weights: Tensor) -> Tensor:
            return (errors * weights).sum() / normalizer(weights.sum(), errors)

        expected = pad_stack([each.centers for each in targets], centers, 0.0)
        center = mean((centers - expected).square(), pad_stack([each.center_weights for each in targets], centers, 0.0))
        expected = pad_stack([each.offsets for each in targets], offsets, 0.0)
        offset = mean((offsets - expected).abs(), pad_stack([each.offset_weights for each in targets], offsets, 0.0))
        return {"loss_center": center * self.center_loss_weight, "loss_offset": offset * self.offset_loss_weight}


class DenseOutputs(NamedTuple):
    """All maps of a batch, float32, padded: logits (B, C, H, W), centers (B, 1, H, W), offsets (B, 2, H, W)."""

    logits: Tensor
    centers: Tensor
    offsets: Tensor


class PanopticDeepLab(nn.Module):
    """Bottom-up panoptic segmentation, without proposals.

    Args:
        backbone: network from images to feature maps.
        num_classes: number of thing and stuff classes.
        things: labels of the thing classes.
        sem_seg_head: semantic branch, built with `channels`, `strides` and `num_classes`.
        ins_embed_head: instance branch, built with `channels` and `strides`.
        grouping: postprocessing, built with `num_classes` and `things`.
        targets: generator of the training targets.
        size_divisibility: images are padded to multiples of this, or of the backbone's divisibility if that is larger.
        predict_instances: whether things are also returned as detections, with boxes and masks.
        preprocess: built with `divisibility`; by default ImageNet's mean and deviation, for RGB.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        things: Sequence[int],
        *,
        sem_seg_head: Factory[PanopticDeepLabSemSegHead] = Factory(PanopticDeepLabSemSegHead),
        ins_embed_head: Factory[PanopticDeepLabInsEmbedHead] = Factory(PanopticDeepLabInsEmbedHead),
        grouping: Factory[Grouping] = Factory(Grouping),
        targets: TargetGenerator = TargetGenerator(),  # noqa: B008 (frozen)
        size_divisibility: int = 1,
        predict_instances: bool = True,
        preprocess: Factory[Preprocess] = Factory(Normalize),
    ) -> None:
        super().__init__()
        self.num_classes, self.things = num_classes, tuple(things)
        divisibility = max(size_divisibility, backbone.size_divisibility)
        self.preprocess = cast(nn.Module, Factory.of(preprocess)(divisibility=divisibility))
        self.backbone = cast(nn.Module, backbone)
        shapes = {"channels": backbone.channels, "strides": backbone.strides}
        self.sem_seg_head = Factory.of(sem_seg_head)(**shapes, num_classes=num_classes)
        self.ins_embed_head = Factory.of(ins_embed_head)(**shapes)
        self.grouping = Factory.of(grouping)(num_classes=num_classes, things=things)
        self.targets, self.predict_instances = targets, predict_instances

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`, which need the extras of a panoptic dataset: losses. Without: segments."""
        pixels = self.preprocess(batch)
        if targets is not None:
            pixel_targets = [self.targets(segments_of(each)) for each in filter_targets(batch, targets)]
            classes, weights = (
                [each.semantic for each in pixel_targets],
                [each.semantic_weights for each in pixel_targets],
            )
            features = self.backbone(pixels)
            losses = self.sem_seg_head.losses(features, classes, weights)
            return losses | self.ins_embed_head.losses(features, pixel_targets)
        outputs, sizes, make = self.dense(pixels), batch.sizes, self.grouping.predictions
        if len(set(sizes)) == 1:
            parts = [x[..., : sizes[0][0], : sizes[0][1]] for x in outputs]
            return make(*parts, instances=self.predict_instances)
        return [
            prediction
            for row, (h, w) in enumerate(sizes)
            for prediction in make(*(x[row : row + 1, :, :h, :w] for x in outputs), instances=self.predict_instances)
        ]

    def networks(self) -> list[nn.Module]:
        """As `det_core.contracts.Compilable`."""
        return [self.backbone, self.sem_seg_head, self.ins_embed_head]

    def exported(self) -> Exported:
        """As `det_core.contracts.Exportable`: up to the dense maps, which `GroupPixels` groups into segments."""
        grouping = self.grouping
        names = ("num_classes", "threshold", "nms_kernel", "top_k", "stuff_area")
        node = {"type": "det_panoptic.exporting:GroupPixels", **{name: getattr(grouping, name) for name in names}}
        things = {"things": list(self.things), "predict_instances": self.predict_instances}
        return Exported(BeforeGrouping(self), finish=node | things)

    def dense(self, pixels: Tensor) -> DenseOutputs:
        """Normalized images (B, 3, H, W) to the dense maps."""
        features = self.backbone(pixels)
        logits = self.sem_seg_head(features)
        return DenseOutputs(logits, *self.ins_embed_head(features))
