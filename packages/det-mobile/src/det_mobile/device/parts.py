"""A detector as the methods of a file, trunk and heads of regions, and the settings of the host code between them."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from det_core.errors import ConfigError
from det_core.models import RCNN, DenseDetector, FastRCNNPredictor, FCOSHead, Normalize, RetinaNetHead, StandardROIHeads
from det_core.models.cpu_acceleration import accelerate
from det_core.models.heads.rpn import RPN
from det_core.ops import coding
from det_core.ops.roi import ROIPooler
from det_core.predict.optimize import fold_norms
from torch import Tensor, nn
from torch.nn import functional as F

from det_mobile.device.shapes import level_of_boxes, roi_align_products

__all__ = ["DeviceModel", "obstacle"]

ADAPTIVE = 2
"""Samples per bin and axis where a model takes as many as a bin is wide, which no fixed shape can."""


def obstacle(model: nn.Module) -> str:
    """The name of a part of the model that cannot have fixed shapes; "" if there is none."""
    if isinstance(model, DenseDetector):
        supported = isinstance(model.head, RetinaNetHead | FCOSHead)
        return _of_preprocess(model) or ("" if supported else f"the head {type(model.head).__name__}")
    if not isinstance(model, RCNN):
        return f"the model {type(model).__name__}"
    heads: Any = model.roi_heads
    if type(model.proposal_generator) is not RPN:
        kind = type(model.proposal_generator).__name__
        return f"the proposal generator {kind}" if model.proposal_generator is not None else "proposals from outside"
    if type(heads) is not StandardROIHeads or not isinstance(heads.box_predictor, FastRCNNPredictor):
        return f"the second stage {type(heads).__name__} with {type(getattr(heads, 'box_predictor', None)).__name__}"
    if heads._heads.names:
        return f"{heads._heads.names[0]} ({type(heads.get_submodule(heads._heads.names[0])).__name__})"
    if not isinstance(heads.box_pooler, ROIPooler) or heads.box_pooler.pooling != "ROIAlignV2":
        return getattr(heads.box_pooler, "pooling", type(heads.box_pooler).__name__)
    return _of_preprocess(model)


def _of_preprocess(model: Any) -> str:
    return "" if type(model.preprocess) is Normalize else f"the preprocessing {type(model.preprocess).__name__}"


class _Network(nn.Module):
    """The part of a trunk that is quantized: normalized pixels to maps and first predictions."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone = model.backbone
        if isinstance(model, RCNN):
            rpn: Any = model.proposal_generator
            self.head, self.levels = rpn.rpn_head, rpn.in_features
            self.maps: Sequence[str] = cast(Any, model.roi_heads).in_features
        else:
            self.head, self.levels, self.maps = None, (), cast(Any, model.head).in_features

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Float (1, 3, H, W) to maps (1, C, H / s, W / s); with an RPN also logits and offsets of each level."""
        features = self.backbone(pixels)
        maps = [features[name] for name in self.maps]
        if self.head is None:
            return tuple(maps)
        logits, offsets = self.head([features[name] for name in self.levels])
        return (*maps, *logits, *offsets)


class _RegionNetwork(nn.Module):
    """The part of the second stage that is quantized: pooled features to class logits and offsets."""

    def __init__(self, heads: Any) -> None:
        super().__init__()
        self.head, self.scores, self.boxes = (
            heads.box_head,
            heads.box_predictor.cls_score,
            heads.box_predictor.bbox_pred,
        )

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, R, R) to (N, classes + 1) and (N, classes or 1 times 4)."""
        x = self.head(pooled).flatten(1)
        return self.scores(x), self.boxes(x)


class _Trunk(nn.Module):
    """Pixels float (1, 3, H, W), RGB 0..255, to maps, logits (A,) and boxes (A, 4); or to boxes and scores (A, C)."""

    mean: Tensor
    std: Tensor
    anchors: Tensor

    def __init__(self, model: Any, network: nn.Module, size: Sequence[int]) -> None:
        super().__init__()
        self.network, self.flip = network, bool(model.preprocess.flip)
        self.register_buffer("mean", model.preprocess.mean.clone())
        self.register_buffer("std", model.preprocess.std.clone())
        self.two_stages = hasattr(model, "roi_heads")
        self.first: Any = model.proposal_generator if self.two_stages else model.head
        with torch.no_grad():
            features = model.backbone(torch.zeros(1, 3, *size))
            levels = [features[name] for name in self.first.in_features]
            if isinstance(self.first, FCOSHead):
                outputs = self.first(features)
                points, strides = outputs.points, self.first.strides
                self.counts = [len(each) for each in points]
                anchors = torch.cat([F.pad(p, (0, 1), value=float(s)) for p, s in zip(points, strides, strict=True)])
            else:
                grids = self.first.anchor_generator(levels)
                self.counts, anchors = [len(each) for each in grids], torch.cat(grids)
        self.register_buffer("anchors", anchors)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """As the class."""
        pixels = pixels.flip(1) if self.flip else pixels
        outputs = self.network((pixels - self.mean) / self.std)
        if self.two_stages:
            levels = len(self.counts)
            logits = torch.cat([each[0] for each in outputs[-2 * levels : -levels]])
            offsets = torch.cat([each[0] for each in outputs[-levels:]])
            boxes = coding.decode(offsets, self.anchors, self.first.box_weights)
            return (*outputs[: -2 * levels], logits, boxes)
        raw = self.first(dict(zip(self.first.in_features, outputs, strict=True)))
        scores = torch.cat([each[0] for each in raw.logits]).sigmoid()
        if isinstance(self.first, FCOSHead):
            centers = torch.cat([each[0] for each in raw.centerness]).sigmoid()
            distances = torch.cat([each[0] for each in raw.distances])
            distances = torch.relu(distances) * self.anchors[:, 2:]
            return coding.decode_distances(distances, self.anchors[:, :2]), (scores * centers[:, None]).sqrt()
        return coding.decode(torch.cat([each[0] for each in raw.offsets]), self.anchors, self.first.box_weights), scores


class _Heads(nn.Module):
    """Maps and regions float (N, 4) to scores (N, C + 1) and boxes (N, C or 1, 4)."""

    def __init__(self, heads: Any, network: nn.Module) -> None:
        super().__init__()
        pooler = heads.box_pooler
        self.network, self.predictor = network, heads.box_predictor
        self.strides, self.resolution = pooler.strides, pooler.resolution
        self.ratio = pooler.sampling_ratio or ADAPTIVE

    def pooled(self, maps: Sequence[Tensor], regions: Tensor) -> Tensor:
        """The features of the regions, each from its own level: (N, C, R, R)."""
        read = [
            roi_align_products(level[0], regions, self.resolution, 1.0 / stride, self.ratio)
            for level, stride in zip(maps, self.strides, strict=True)
        ]
        if len(read) == 1:
            return read[0]
        levels = level_of_boxes(regions, self.strides)
        shares = [(levels == float(index)).to(each.dtype)[:, None, None, None] for index, each in enumerate(read)]
        return torch.stack([each * share for each, share in zip(read, shares, strict=True)]).sum(0)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """As the class; the regions come last."""
        *maps, regions = inputs
        logits, offsets = self.network(self.pooled(maps, regions))
        offsets = offsets.reshape(len(regions), -1, 4)
        scores = logits.softmax(1) if self.predictor.class_loss == "softmax" else logits.sigmoid()
        return scores, coding.decode(offsets, regions[:, None], self.predictor.box_weights)


class DeviceModel:
    """The methods and settings of a detector for pictures of one size.

    Args:
        model: detector without `obstacle`; it is not changed.
        size: (height, width) of the input in pixels, multiples of the backbone's divisibility.

    Attributes:
        networks: method -> network to quantize, from normalized pixels or pooled features to raw predictions.
        settings: settings of the host code, see `det_mobile.device.host`.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        copied: Any = accelerate(copy.deepcopy(model).cpu().eval(), on=False).requires_grad_(False)
        fold_norms(copied)
        divisibility = copied.preprocess.divisibility
        if any(side % divisibility for side in size):
            larger = " ".join(str(-(-side // divisibility) * divisibility) for side in size)
            fix = f"give --size {larger}"
            raise ConfigError("--size", f"must be multiples of {divisibility}", f"got {size[0]} x {size[1]}", fix)
        self.model, self.size, self.two_stages = copied, size, isinstance(copied, RCNN)
        self.networks: dict[str, nn.Module] = {"trunk": _Network(copied)}
        if self.two_stages:
            self.networks["heads"] = _RegionNetwork(copied.roi_heads)
        self.settings = self._settings()

    def methods(
        self, networks: Mapping[str, nn.Module] | None = None
    ) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """Each method with example inputs, on the given networks or on those of the model."""
        networks = networks or self.networks
        pixels = torch.zeros(1, 3, *self.size)
        trunk = _Trunk(self.model, networks["trunk"], self.size)
        methods: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {"trunk": (trunk, (pixels,))}
        if self.two_stages:
            with torch.no_grad():  # on its own network: others may have observers
                *maps, _, _ = _Trunk(self.model, self.networks["trunk"], self.size)(pixels)
            regions = torch.tensor([[0.0, 0.0, 32.0, 32.0]]).repeat(self.settings["proposals"]["most"], 1)
            methods["heads"] = (_Heads(self.model.roi_heads, networks["heads"]), (*maps, regions))
        return methods

    def inputs_of_networks(self) -> dict[str, tuple[Tensor, ...]]:
        """Example inputs of each network."""
        inputs: dict[str, tuple[Tensor, ...]] = {"trunk": (torch.zeros(1, 3, *self.size),)}
        if self.two_stages:
            pooler = self.model.roi_heads.box_pooler
            channels = self.model.backbone.channels[self.model.roi_heads.in_features[0]]
            count = self.settings["proposals"]["most"]
            inputs["heads"] = (torch.zeros(count, channels, pooler.resolution, pooler.resolution),)
        return inputs

    def _settings(self) -> dict[str, Any]:
        mean = self.model.preprocess.mean.flatten().tolist()
        trunk = _Trunk(self.model, self.networks["trunk"], self.size)
        nms: Any = self.model.nms
        settings: dict[str, Any] = {
            "size": list(self.size),
            "mean": mean[::-1] if self.model.preprocess.flip else mean,
            "stages": 2 if self.two_stages else 1,
            "score_threshold": nms.score_threshold,
            "iou_threshold": nms.iou_threshold,
            "most": nms.max_detections,
        }
        if not self.two_stages:
            more = {"anchors": trunk.counts, "candidates": nms.topk_candidates}
            return {**settings, **more, "clip_before_nms": nms.clip_before_nms}
        nms = self.model.proposal_generator.nms
        settings["proposals"] = {
            "anchors": trunk.counts,
            "candidates": nms.pre_nms_topk(False),
            "most": nms.post_nms_topk(False),
            "iou_threshold": nms.iou_threshold,
            "min_size": nms.min_size,
        }
        pooler = self.model.roi_heads.box_pooler
        settings["sampling_ratio"] = pooler.sampling_ratio or ADAPTIVE
        settings["adaptive_sampling"] = not pooler.sampling_ratio
        return settings
