"""det's two-stage models with the parts and methods that programs call on Detectron2's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from det_core.structures import Detections, ImageBatch, Proposals
from torch import Tensor, nn

from det_detectron2.layer.layers import ShapeSpec
from det_detectron2.layer.modeling.meta_arch.rcnn import GeneralizedRCNN
from det_detectron2.layer.modeling.model import LayerModel, as_boxes, targets_of
from det_detectron2.layer.modeling.postprocessing import detector_postprocess
from det_detectron2.layer.structures import ImageList, Instances

__all__ = ["LayerRCNN"]


class _Called:
    """A part of det's model that is called as Detectron2's; its attributes are the part's."""

    def __init__(self, part: nn.Module, call: Callable[..., Any]) -> None:
        self.__dict__.update(part=part, call=call)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__dict__["call"](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["part"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["part"], name, value)


class LayerRCNN(LayerModel, GeneralizedRCNN):  # type: ignore[misc]
    """`LayerModel` of a two-stage model: a `GeneralizedRCNN` for programs that ask."""

    def preprocess_image(self, batched_inputs: Sequence[Mapping[str, Any]]) -> ImageList:
        """The images, normalized and padded, in one tensor."""
        batch = ImageBatch.stack([self._rgb(each["image"]) for each in batched_inputs])
        return ImageList(self.det_model.preprocess(batch), [*batch.sizes])  # type: ignore[operator]

    @property
    def proposal_generator(self) -> Any:  # type: ignore[override]
        """Called with images, features and, in training, instances."""
        part = self.det_model.proposal_generator
        if part is None:
            return None

        def call(images: ImageList, features: Mapping[str, Tensor], gt_instances: Any = None) -> Any:
            target = None if gt_instances is None else [targets_of(each.to(self.device)) for each in gt_instances]
            results, losses = part(features, images.image_sizes, target)  # type: ignore[operator]
            retained = [
                Instances(size, proposal_boxes=as_boxes(current.boxes), objectness_logits=current.logits)
                for current, size in zip(results, images.image_sizes, strict=True)
            ]
            return retained, losses

        return _Called(part, call)  # type: ignore[arg-type]

    @property
    def roi_heads(self) -> Any:  # type: ignore[override]
        """Called with images, features, proposals and, in training, targets; `forward_with_given_boxes` as well."""
        part: Any = self.det_model.roi_heads

        def call(
            images: ImageList, features: Mapping[str, Tensor], proposals: Sequence[Instances], targets: Any = None
        ) -> Any:
            source = [
                Proposals(boxes=each.proposal_boxes.tensor, logits=each.objectness_logits.reshape(-1))
                for each in proposals
            ]
            if targets is not None:
                target = [targets_of(each.to(self.device)) for each in targets]
                return [], part.losses(features, source, target, images.image_sizes)
            results = part.predict(features, source, images.image_sizes)
            return [_instances(each) for each in results], {}

        def given_boxes(features: Mapping[str, Tensor], instances: Sequence[Instances]) -> Any:
            return [
                _instances(each) for each in part.predict_given_boxes(features, [_detections(i) for i in instances])
            ]

        wrapped = _Called(part, call)
        wrapped.__dict__["forward_with_given_boxes"] = given_boxes
        return wrapped

    def inference(
        self,
        batched_inputs: Sequence[Mapping[str, Any]],
        detected_instances: Any = None,
        do_postprocess: bool = True,
    ) -> Any:
        """For each image {"instances"}; or `Instances` of the resized images, without `do_postprocess`."""
        assert not self.training
        if detected_instances is None and do_postprocess:
            return self(batched_inputs)
        with torch.no_grad():
            images = self.preprocess_image(batched_inputs)
            features = self.backbone(images.tensor)
            if detected_instances is not None:
                source = [each.to(self.device) for each in detected_instances]
                results = self.roi_heads.forward_with_given_boxes(features, source)
            else:
                if self.proposal_generator is None:
                    proposals = [each["proposals"].to(self.device) for each in batched_inputs]
                else:
                    proposals, _ = self.proposal_generator(images, features)
                results, _ = self.roi_heads(images, features, proposals)
        if not do_postprocess:
            return results
        sizes = zip(results, batched_inputs, images.image_sizes, strict=True)
        return [
            {"instances": detector_postprocess(current, each.get("height", size[0]), each.get("width", size[1]))}
            for current, each, size in sizes
        ]

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each feature map of the backbone."""
        backbone: Any = self.det_model.backbone
        return {
            name: ShapeSpec(channels=channels, stride=backbone.strides[name])
            for name, channels in backbone.channels.items()
        }


def _instances(results: Detections) -> Instances:
    current = Instances(
        results.size, pred_boxes=as_boxes(results.boxes), scores=results.scores, pred_classes=results.labels
    )
    if isinstance(results.masks, Tensor):
        current.pred_masks = results.masks if results.masks.dtype == torch.bool else results.masks[:, None]
    if results.keypoints is not None:
        current.pred_keypoints = results.keypoints
    return current


def _detections(current: Instances) -> Detections:
    scores = current.scores if current.has("scores") else torch.ones(len(current), device=current.pred_classes.device)
    return Detections(
        boxes=current.pred_boxes.tensor, labels=current.pred_classes, scores=scores, size=current.image_size
    )
