"""Two-stage models, as `detectron2.modeling.meta_arch.rcnn`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from det_detectron2.layer.config import configurable
from det_detectron2.layer.modeling.backbone import build_backbone
from det_detectron2.layer.modeling.meta_arch.registry import META_ARCH_REGISTRY
from det_detectron2.layer.modeling.postprocessing import detector_postprocess
from det_detectron2.layer.modeling.proposal_generator import build_proposal_generator
from det_detectron2.layer.modeling.roi_heads import build_roi_heads
from det_detectron2.layer.structures import ImageList, Instances

__all__ = ["GeneralizedRCNN", "ProposalNetwork"]


class _Normalized(nn.Module):
    """Brings images to the model's device, mean and deviation."""

    pixel_mean: Tensor
    pixel_std: Tensor
    backbone: Any

    def _set_pixels(self, pixel_mean: Sequence[float], pixel_std: Sequence[float]) -> None:
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)
        shapes = f"{self.pixel_mean.shape} and {self.pixel_std.shape} have different shapes!"
        assert self.pixel_mean.shape == self.pixel_std.shape, shapes

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.pixel_mean.device

    def preprocess_image(self, batched_inputs: Sequence[Mapping[str, Any]]) -> ImageList:
        """The images, normalized and padded, in one tensor."""
        images = [(each["image"].to(self.device) - self.pixel_mean) / self.pixel_std for each in batched_inputs]
        return ImageList.from_tensors(
            images, self.backbone.size_divisibility, padding_constraints=self.backbone.padding_constraints
        )


@META_ARCH_REGISTRY.register()
class GeneralizedRCNN(_Normalized):
    """Backbone, proposal generator and RoI heads.

    Args:
        backbone: backbone that computes feature maps.
        proposal_generator: proposal generator; None for precomputed proposals.
        roi_heads: second stage.
        pixel_mean: mean of each channel.
        pixel_std: standard deviation of each channel.
        input_format: channel order of the images, such as "BGR".
        vis_period: accepted for compatibility; training images are not visualized.
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: nn.Module,
        proposal_generator: nn.Module | None,
        roi_heads: nn.Module,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        input_format: str | None = None,
        vis_period: int = 0,
    ) -> None:
        super().__init__()
        self.backbone, self.proposal_generator, self.roi_heads = backbone, proposal_generator, roi_heads
        self.input_format, self.vis_period = input_format, vis_period
        self._set_pixels(pixel_mean, pixel_std)

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        backbone = build_backbone(cfg)
        return {
            "backbone": backbone,
            "proposal_generator": build_proposal_generator(cfg, backbone.output_shape()),
            "roi_heads": build_roi_heads(cfg, backbone.output_shape()),
            "input_format": cfg.INPUT.FORMAT,
            "vis_period": cfg.VIS_PERIOD,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> Any:
        """In training, the losses; else `inference`."""
        if not self.training:
            return self.inference(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        objects = (
            [each["instances"].to(self.device) for each in batched_inputs] if "instances" in batched_inputs[0] else None
        )
        features = self.backbone(images.tensor)
        losses: dict[str, Tensor] = {}
        if self.proposal_generator is not None:
            proposals, losses = self.proposal_generator(images, features, objects)
        else:
            proposals = [each["proposals"].to(self.device) for each in batched_inputs]
        _, output = self.roi_heads(images, features, proposals, objects)
        return {**output, **losses}

    def inference(
        self,
        batched_inputs: Sequence[Mapping[str, Any]],
        detected_instances: list[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> Any:
        """For each image {"instances"}; or `Instances` of the padded images, without `do_postprocess`.

        Args:
            batched_inputs: mapping of each image with "image" (3, H, W), and the output "height" and "width".
            detected_instances: given `pred_boxes` and `pred_classes`, for which to predict masks and keypoints.
            do_postprocess: whether to rescale results to the output size.
        """
        assert not self.training
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        if detected_instances is None:
            if self.proposal_generator is not None:
                proposals, _ = self.proposal_generator(images, features, None)
            else:
                proposals = [each["proposals"].to(self.device) for each in batched_inputs]
            results, _ = self.roi_heads(images, features, proposals, None)
        else:
            source = [each.to(self.device) for each in detected_instances]
            results = self.roi_heads.forward_with_given_boxes(features, source)  # type: ignore[operator]
        if not do_postprocess:
            return results
        return self._postprocess(results, batched_inputs, images.image_sizes)

    @staticmethod
    def _postprocess(
        instances: Sequence[Instances], batched_inputs: Sequence[Mapping[str, Any]], image_sizes: Any
    ) -> list[dict[str, Any]]:
        """Results in the size that each input asks for."""
        output = []
        for current, source, size in zip(instances, batched_inputs, image_sizes, strict=True):
            height, width = source.get("height", size[0]), source.get("width", size[1])
            output.append({"instances": detector_postprocess(current, height, width)})
        return output


@META_ARCH_REGISTRY.register()
class ProposalNetwork(_Normalized):
    """Backbone and proposal generator.

    Args:
        backbone: backbone that computes feature maps.
        proposal_generator: proposal generator.
        pixel_mean: mean of each channel.
        pixel_std: standard deviation of each channel.
    """

    @configurable
    def __init__(self, *, backbone: nn.Module, proposal_generator: nn.Module, pixel_mean: Any, pixel_std: Any) -> None:
        super().__init__()
        self.backbone, self.proposal_generator = backbone, proposal_generator
        self._set_pixels(pixel_mean, pixel_std)

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        backbone = build_backbone(cfg)
        return {
            "backbone": backbone,
            "proposal_generator": build_proposal_generator(cfg, backbone.output_shape()),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> Any:
        """In training, the losses; else for each image {"proposals"}."""
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        objects = (
            [each["instances"].to(self.device) for each in batched_inputs] if "instances" in batched_inputs[0] else None
        )
        proposals, losses = self.proposal_generator(images, features, objects)
        if self.training:
            return losses
        output = GeneralizedRCNN._postprocess(proposals, batched_inputs, images.image_sizes)
        return [{"proposals": each["instances"]} for each in output]
