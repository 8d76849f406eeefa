"""The torchvision model with the architecture and the weights of one of det's, for a comparison of their speed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from det_core.data import ResizeShortestEdge
from det_core.errors import ConfigError
from det_core.predict import Detector
from det_core.structures import Detections
from torch import Tensor, nn

__all__ = ["Counterpart", "counterpart", "torchvision_state"]

_NAMES = {  # regular expressions of our keys, and torchvision's
    r"backbone\.bottom_up\.stem\.conv1\.norm\.": "backbone.body.bn1.",
    r"backbone\.bottom_up\.stem\.conv1\.": "backbone.body.conv1.",
    r"backbone\.bottom_up\.res(\d)\.(\d+)\.shortcut\.norm\.": "backbone.body.layer{0-1}.{1}.downsample.1.",
    r"backbone\.bottom_up\.res(\d)\.(\d+)\.shortcut\.": "backbone.body.layer{0-1}.{1}.downsample.0.",
    r"backbone\.bottom_up\.res(\d)\.(\d+)\.conv(\d)\.norm\.": "backbone.body.layer{0-1}.{1}.bn{2}.",
    r"backbone\.bottom_up\.res(\d)\.(\d+)\.conv(\d)\.": "backbone.body.layer{0-1}.{1}.conv{2}.",
    r"backbone\.fpn_lateral(\d)\.": "backbone.fpn.inner_blocks.{0-2}.0.",
    r"backbone\.fpn_output(\d)\.": "backbone.fpn.layer_blocks.{0-2}.0.",
    r"proposal_generator\.rpn_head\.conv\.": "rpn.head.conv.0.0.",
    r"proposal_generator\.rpn_head\.objectness_logits\.": "rpn.head.cls_logits.",
    r"proposal_generator\.rpn_head\.anchor_deltas\.": "rpn.head.bbox_pred.",
    r"roi_heads\.box_head\.fc(\d)\.": "roi_heads.box_head.fc{0+5}.",
    r"roi_heads\.mask_head\.mask_fcn(\d)\.": "roi_heads.mask_head.{0-1}.0.",
    r"roi_heads\.mask_head\.deconv\.": "roi_heads.mask_predictor.conv5_mask.",
    r"roi_heads\.mask_head\.predictor\.": "roi_heads.mask_predictor.mask_fcn_logits.",
}
_DEPTHS: Mapping[tuple[int, ...], int] = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
_WHERE = "--against torchvision"


def torchvision_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a Faster or Mask R-CNN (ResNet-FPN) under torchvision's keys; there the background comes first."""
    renamed = {}
    for key, value in state.items():
        name = _name(key)
        if key.endswith("num_batches_tracked"):
            continue
        if key.startswith("roi_heads.box_predictor.cls_score"):
            name, value = key, value.roll(1, 0)
        elif key.startswith("roi_heads.box_predictor.bbox_pred"):
            name, value = key, torch.cat((torch.zeros_like(value[:4]), value))
        elif key.startswith("roi_heads.mask_head.predictor"):
            value = torch.cat((torch.zeros_like(value[:1]), value))
        renamed[name] = value
    return renamed


def _name(key: str) -> str:
    for pattern, name in _NAMES.items():
        if match := re.match(pattern, key):
            for i, digit in enumerate(match.groups()):
                name = re.sub(rf"\{{{i}([+-]\d)?\}}", lambda m, d=digit: str(int(d) + int(m[1] or 0)), name)  # type: ignore[misc]
            return name + key[match.end() :]
    return key


class Counterpart:
    """A torchvision detector that takes images and gives detections as `Detector` does.

    Args:
        model: model of `torchvision.models.detection`.
        device: torch device of the model.
        threshold: least score of a detection.
    """

    def __init__(self, model: nn.Module, device: torch.device, threshold: float) -> None:
        self.model, self.device, self.threshold = model.to(device).eval(), device, threshold

    @torch.no_grad()
    def __call__(self, images: Sequence[Tensor]) -> list[Detections]:
        """The detections of images, uint8 RGB (3, H, W), on the CPU."""
        outputs = self.model([image.to(self.device).float() / 255 for image in images])
        detections = []
        for each, image in zip(outputs, images, strict=True):
            rows = each["scores"] >= self.threshold
            boxes, labels, scores = (each[name][rows].cpu() for name in ("boxes", "labels", "scores"))
            size = (image.shape[1], image.shape[2])
            detections.append(Detections(boxes=boxes, labels=labels - 1, scores=scores, size=size))
        return detections


def counterpart(detector: Detector, threshold: float = 0.05) -> Counterpart:
    """Torchvision's Faster or Mask R-CNN with the weights, anchors, limits and resizing of a detector.

    Torchvision's ROIAlign takes two samples per bin and is not shifted by half a pixel, so that detections differ a
    little.

    Raises:
        ConfigError: torchvision has no such model.
    """
    model: Any = detector.model
    try:
        other = _like(model, _sizes(detector))
        other.load_state_dict(_first_convolution(torchvision_state(model.state_dict()), model))
        generator = model.proposal_generator.anchor_generator
        cells = [getattr(generator, f"cell{level}") for level in range(len(other.rpn.anchor_generator.sizes))]
        other.rpn.anchor_generator.cell_anchors = cells
    except (AttributeError, KeyError, RuntimeError, ValueError) as error:
        kind = f"{type(model).__name__}: {str(error).splitlines()[0][:200]}"
        fix = "torchvision's Faster and Mask R-CNN have a ResNet-FPN; leave out --against"
        raise ConfigError(_WHERE, "torchvision has no counterpart of this model", kind, fix) from error
    return Counterpart(other, detector.device, threshold)


def _sizes(detector: Detector) -> dict[str, int]:
    """The sides that torchvision resizes to, by the only transform of the detector."""
    transforms = [] if detector.recipe is None else detector.recipe.build_part("data.eval_transforms", list[Any])
    if len(transforms) != 1 or not isinstance(transforms[0], ResizeShortestEdge):
        raise ValueError("the model is not behind one ResizeShortestEdge")
    short, most = transforms[0].size[0], transforms[0].max_size
    return {"min_size": short, "max_size": most or 2**16}


def _like(model: Any, sizes: Mapping[str, int]) -> Any:
    from torchvision.models.detection import FasterRCNN, MaskRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    bottom_up, second, rpn = model.backbone.bottom_up, model.roi_heads, model.proposal_generator
    blocks = tuple(len(getattr(bottom_up, f"res{level}")) for level in (2, 3, 4, 5))
    bottleneck = hasattr(bottom_up.res2[0], "conv3")
    depth = _DEPTHS[blocks] if bottleneck or blocks != (3, 4, 6, 3) else 34
    backbone = resnet_fpn_backbone(backbone_name=f"resnet{depth}", weights=None, trainable_layers=5)
    body: Any = backbone.body
    for level in (2, 3, 4, 5) if bottleneck else ():
        ours, block = getattr(bottom_up, f"res{level}")[0], body[f"layer{level - 1}"][0]
        block.conv1.stride, block.conv2.stride = ours.conv1.stride, ours.conv2.stride
    mean, std = (each.flatten() / 255 for each in (model.preprocess.mean, model.preprocess.std))
    order = slice(None, None, -1) if model.preprocess.flip else slice(None)
    kind = MaskRCNN if getattr(second, "mask_head", None) is not None else FasterRCNN
    return kind(
        backbone,
        model.num_classes + 1,
        **sizes,
        image_mean=mean.tolist()[order],
        image_std=std.tolist()[order],
        rpn_pre_nms_top_n_test=rpn.nms.pre_nms_topk_test,
        rpn_post_nms_top_n_test=rpn.nms.post_nms_topk_test,
        rpn_nms_thresh=rpn.nms.iou_threshold,
        box_score_thresh=model.nms.score_threshold,
        box_nms_thresh=model.nms.iou_threshold,
        box_detections_per_img=model.nms.max_detections,
    )


def _first_convolution(state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """The weights for images in RGB, which torchvision takes alone."""
    key = "backbone.body.conv1.weight"
    return {**state, key: state[key].flip(1)} if model.preprocess.flip else state
