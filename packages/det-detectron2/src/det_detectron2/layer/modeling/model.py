"""A model of det behind the interface of Detectron2's: lists of mappings in and out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from det_core.engine.evaluate import predict
from det_core.errors import StructureError
from det_core.ops.masks import in_image
from det_core.structures import Detections, ImageBatch, PanopticMap, Polygons, Prediction, Proposals, Targets
from torch import Tensor, nn

from det_detectron2.layer.structures import BitMasks, Boxes, Instances, PolygonMasks, RotatedBoxes

__all__ = ["LayerModel", "as_boxes", "flat_settings", "targets_of"]


def flat_settings(cfg: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The settings of a tree by their dotted names, as the importer takes them."""
    flat: dict[str, Any] = {}
    for name, value in cfg.items():
        if isinstance(value, Mapping):
            flat |= flat_settings(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


class LayerModel(nn.Module):
    """A model of det that takes and gives what Detectron2's models do; its weights have the published names.

    Args:
        model: det model.
        input_format: channel order of the input images, "BGR" or "RGB".
    """

    def __init__(self, model: nn.Module, input_format: str = "BGR") -> None:
        nn.Module.__init__(self)
        self.det_model, self.input_format = model, input_format

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("det_model"), name)  # backbone, roi_heads, ...

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The weights, under their published names."""
        return self.det_model.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take weights under their published names."""
        return self.det_model.load_state_dict(state_dict, strict, assign)

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """The trained weights, under their published names."""
        return self.det_model.named_parameters(*args, **kwargs)

    def named_modules(self, *args: Any, **kwargs: Any) -> Any:
        """The parts, under their published names."""
        return self.det_model.named_modules(*args, **kwargs)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.det_model.parameters()).device

    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """In training, the losses; else a mapping for each image.

        Args:
            batched_inputs: for each image "image" (3, H, W), values 0 to 255; "height" and "width" of the result, by
                default the image's; in training "instances" and, for models of classes of pixels, "sem_seg".

        Returns:
            For each image "instances", "sem_seg", "panoptic_seg" or "proposals", as far as the model makes them.
        """
        images = [self._rgb(each["image"]) for each in batched_inputs]
        source = [each["proposals"] for each in batched_inputs if "proposals" in each]
        proposals = [_proposals(each, self.device) for each in source] if len(source) == len(images) else None
        batch = ImageBatch.stack(images, proposals)
        if self.training:
            losses: dict[str, Tensor] = self.det_model(batch, [self._targets(each) for each in batched_inputs])
            return losses
        sizes = [
            (int(each.get("height", size[0])), int(each.get("width", size[1])))
            for each, size in zip(batched_inputs, batch.sizes, strict=True)
        ]
        with torch.no_grad():
            predictions = predict(self.det_model, batch, sizes)
        return [_outputs(prediction, size) for prediction, size in zip(predictions, sizes, strict=True)]

    def _rgb(self, image: Tensor) -> Tensor:
        image = image.to(self.device)
        image = image if image.dtype == torch.uint8 else image.float()
        return image.flip(0) if self.input_format == "BGR" else image

    def _targets(self, each: Mapping[str, Any]) -> Targets:
        if "instances" not in each and "sem_seg" not in each:
            raise StructureError("batched_inputs", "must hold instances or sem_seg in training", f"got {sorted(each)}")
        semantic = each["sem_seg"].to(self.device).long() if "sem_seg" in each else None
        if "instances" not in each:
            nothing = torch.zeros(0, 4, device=self.device)
            return Targets(boxes=nothing, labels=nothing.new_zeros(0, dtype=torch.int64), semantic=semantic)
        return targets_of(each["instances"].to(self.device), semantic)


def targets_of(current: Instances, semantic: Tensor | None = None) -> Targets:
    """The objects of an image as det's."""
    return Targets(
        boxes=current.gt_boxes.tensor,
        labels=current.gt_classes,
        masks=_masks(current.gt_masks) if current.has("gt_masks") else None,
        keypoints=current.gt_keypoints.tensor if current.has("gt_keypoints") else None,
        semantic=semantic,
    )


def _masks(masks: Any) -> Tensor | Polygons:
    if isinstance(masks, BitMasks):
        return masks.tensor
    if isinstance(masks, PolygonMasks):
        return Polygons.of(masks.polygons)
    return masks


def as_boxes(tensor: Tensor) -> Boxes:
    """Boxes of four numbers, or rotated ones of five."""
    return RotatedBoxes(tensor) if tensor.shape[1] == 5 else Boxes(tensor)


def _proposals(current: Instances, device: torch.device) -> Proposals:
    return Proposals(boxes=current.proposal_boxes.tensor.to(device), logits=current.objectness_logits.to(device))


def _outputs(prediction: Prediction, size: tuple[int, int]) -> dict[str, Any]:
    results: dict[str, Any] = {}
    if prediction.semantic is not None:
        results["sem_seg"] = prediction.semantic.logits
    if prediction.detections is not None:
        results["instances"] = _instances(prediction.detections, size)
    if prediction.panoptic is not None:
        results["panoptic_seg"] = _panoptic(prediction.panoptic)
    if prediction.proposals is not None:
        current = prediction.proposals
        results["proposals"] = Instances(size, proposal_boxes=as_boxes(current.boxes), objectness_logits=current.logits)
    return results


def _instances(results: Detections, size: tuple[int, int]) -> Instances:
    instances = Instances(size, pred_boxes=as_boxes(results.boxes), scores=results.scores, pred_classes=results.labels)
    if results.masks is not None:
        chunks = [*in_image(results.masks, results.boxes, size)]
        empty = torch.zeros(0, *size, dtype=torch.bool, device=results.boxes.device)
        instances.pred_masks = torch.cat(chunks) if chunks else empty
    if results.keypoints is not None:
        instances.pred_keypoints = results.keypoints
    return instances


def _panoptic(results: PanopticMap) -> tuple[Tensor, list[dict[str, Any]]]:
    """The segment of each pixel, and what each segment is; categories of stuff count from 0 among things and stuff."""
    segments = [
        {"id": each["id"], "isthing": bool(each["is_thing"]), "category_id": int(each["label"])}
        | ({"score": each["score"]} if "score" in each else {})
        for each in results.segments
    ]
    return results.ids, segments
