"""Losses of a student: feature maps and class logits of the teacher, and its detections as ground truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from det_core.errors import ConfigError
from det_core.ops import boxes as box_ops
from det_core.structures import ImageBatch, Prediction, Targets
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Imitation", "Logits", "PseudoBoxes"]


@dataclass(frozen=True)
class Imitation:
    """Feature maps of the student, through a 1 x 1 convolution each, come near to those of the teacher.

    Both are brought to mean 0 and deviation 1 in every channel over the batch before their squared differences are
    averaged, so that the scale of neither counts (Cao et al., "PKD: general distillation framework for object detectors
    via Pearson correlation coefficient", 2022).

    Attributes:
        levels: level of the student to level of the teacher; the teacher's map is resized to the student's.
        channels: number of channels of the teacher's levels, one for all or one for each in the order of `levels`.
        weight: factor on the loss in the sum.
    """

    levels: Mapping[str, str]
    channels: int | Sequence[int]
    weight: float = 1.0

    def adapters(self, channels: Mapping[str, int]) -> nn.ModuleDict:
        """The convolutions by the student's level; `channels` are those of the student's levels."""
        if not self.levels or self.levels.keys() - channels.keys():
            found = f"got {', '.join(self.levels)}; there are {', '.join(channels)}"
            raise ConfigError("Imitation.levels", "must name levels of the student", found)
        widths = [self.channels] * len(self.levels) if isinstance(self.channels, int) else list(self.channels)
        if len(widths) != len(self.levels) or min(widths) < 1:
            raise ConfigError("Imitation.channels", "needs a positive number for each level", f"got {self.channels}")
        convolutions = {n: nn.Conv2d(channels[n], width, 1) for n, width in zip(self.levels, widths, strict=True)}
        return nn.ModuleDict(convolutions)

    def loss(self, adapters: nn.ModuleDict, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
        """The mean over levels; maps (B, C, H, W) by level.

        Raises:
            ConfigError: the teacher has no such level, or one of other channels.
        """
        losses = []
        for name, theirs in self.levels.items():
            if theirs not in teacher:
                found = f"it has {', '.join(teacher)}"
                raise ConfigError(f"Imitation.levels.{name}", f"the teacher has no level {theirs!r}", found)
            mine, target = adapters[name](student[name]).float(), teacher[theirs].float()
            if mine.shape[1] != target.shape[1]:
                found = f"{theirs} has {target.shape[1]}"
                raise ConfigError("Imitation.channels", f"must be those of the teacher, not {mine.shape[1]}", found)
            if mine.shape[2:] != target.shape[2:]:
                target = F.interpolate(target, size=mine.shape[2:], mode="bilinear", align_corners=False)
            losses.append(F.mse_loss(_standardized(mine), _standardized(target)) / 2)
        return self.weight * torch.stack(losses).mean()


def _standardized(maps: Tensor) -> Tensor:
    mean, deviation = maps.mean((0, 2, 3), keepdim=True), maps.std((0, 2, 3), keepdim=True)
    return (maps - mean) / (deviation + 1e-6)


@dataclass(frozen=True)
class Logits:
    """Class probabilities of the student come near to those of the teacher, both softened by a temperature.

    Of two-stage detectors, both classify the teacher's proposals, and the Kullback-Leibler divergence of their softmax
    is averaged; of one-stage ones with the same levels and anchors, the divergence of their sigmoids is summed over
    all places and classes and divided by the teacher's sum of probabilities. Both are multiplied by the square of the
    temperature (Hinton et al., "Distilling the knowledge in a neural network", 2015).

    Attributes:
        temperature: divisor of the logits; higher is softer.
        regions: number of the teacher's best proposals of each image, for two-stage detectors.
        weight: factor on the loss in the sum.
    """

    temperature: float = 2.0
    regions: int = 64
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature <= 0 or self.regions < 1:
            found = f"got {self.temperature} and {self.regions}"
            raise ConfigError("Logits", "needs a positive temperature and at least one region", found)

    def loss(
        self,
        student: Any,
        teacher: Any,
        features: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
        batch: ImageBatch,
    ) -> Tensor:
        """The loss of a batch; `features` are those of the student and of the teacher.

        Raises:
            ConfigError: the two are of different kinds, or one-stage with other levels or anchors.
        """
        mine, theirs = features
        if _two_stages(student) and _two_stages(teacher):
            with torch.no_grad():
                proposals, _ = teacher.proposal_generator(theirs, batch.sizes)
                boxes = [each.boxes[: self.regions] for each in proposals]
                target = _region_logits(teacher.roi_heads, theirs, boxes)
            output = _region_logits(student.roi_heads, mine, boxes)
            return self.weight * self._softmax(output.float(), target.float())
        if hasattr(student, "head") and hasattr(teacher, "head"):
            with torch.no_grad():
                target = torch.cat([each.flatten(1) for each in teacher.head(theirs).logits], 1)
            output = torch.cat([each.flatten(1) for each in student.head(mine).logits], 1)
            if output.shape == target.shape:
                return self.weight * self._sigmoid(output.float(), target.float())
        kinds = f"got {type(student).__name__} and {type(teacher).__name__}"
        fix = "teach features or pseudo_boxes, which any two detectors have in common"
        problem = "needs two detectors with boxes of regions, or two with the same levels and anchors"
        raise ConfigError("Distilled.logits", problem, kinds, fix)

    def _softmax(self, output: Tensor, target: Tensor) -> Tensor:
        if not len(output):
            return output.sum()
        t = self.temperature
        log_p, log_q = (output / t).log_softmax(1), (target / t).log_softmax(1)
        return F.kl_div(log_p, log_q, reduction="batchmean", log_target=True) * t**2

    def _sigmoid(self, output: Tensor, target: Tensor) -> Tensor:
        t, p = self.temperature, (target / self.temperature).sigmoid()
        cross = F.binary_cross_entropy_with_logits(output / t, p, reduction="sum")
        entropy = F.binary_cross_entropy_with_logits(target / t, p, reduction="sum")
        return (cross - entropy) * t**2 / p.sum().clamp(min=1.0)


def _two_stages(model: Any) -> bool:
    heads = getattr(model, "roi_heads", None)
    parts = ("box_pooler", "box_head", "box_predictor", "in_features")
    return getattr(model, "proposal_generator", None) is not None and all(hasattr(heads, each) for each in parts)


def _region_logits(heads: Any, features: Mapping[str, Tensor], boxes: list[Tensor]) -> Tensor:
    """Class logits (P, C + 1) of regions of all images."""
    pooled = heads.box_pooler([features[name] for name in heads.in_features], boxes)
    outputs = heads.box_predictor(heads.box_head(pooled))
    logits: Tensor = outputs[0]
    return logits


@dataclass(frozen=True)
class PseudoBoxes:
    """Detections of the teacher as objects to learn from.

    Attributes:
        threshold: detections that score less do not count, in [0, 1].
        mode: "add" those to the annotated objects that overlap none of them by more than `iou_threshold`; "replace" the
            annotated objects, as D2Go's LabelDistillation does, for images without annotations.
        iou_threshold: IoU with an annotated object, in [0, 1], above which a teacher's box is left out.
    """

    threshold: float = 0.7
    mode: Literal["add", "replace"] = "add"
    iou_threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1 or not 0 <= self.iou_threshold <= 1:
            found = f"got {self.threshold} and {self.iou_threshold}"
            raise ConfigError("PseudoBoxes", "thresholds must be from 0 to 1", found)

    @torch.no_grad()
    def targets(self, annotated: Sequence[Targets], predicted: Sequence[Prediction]) -> list[Targets]:
        """The objects of each image to learn from.

        Raises:
            ConfigError: objects have masks or keypoints, which detections of boxes lack.
        """
        return [self._of_one(objects, output) for objects, output in zip(annotated, predicted, strict=True)]

    def _of_one(self, annotated: Targets, predicted: Prediction) -> Targets:
        detections = predicted.detections
        if detections is None:
            raise ConfigError("Distilled.pseudo_boxes", "needs a teacher that detects", "it predicts no detections")
        if annotated.masks is not None or annotated.keypoints is not None or annotated.extras:
            fix = "teach features or logits"
            raise ConfigError(
                "Distilled.pseudo_boxes", "are boxes alone", "objects have masks, keypoints or extras", fix
            )
        output = detections[detections.scores >= self.threshold]
        if self.mode == "replace":
            return Targets(boxes=output.boxes.float(), labels=output.labels)
        if len(annotated) and len(output):
            output = output[box_ops.iou(annotated.boxes, output.boxes).amax(0) <= self.iou_threshold]
        crowd = torch.zeros(len(output), dtype=torch.bool, device=output.boxes.device)
        return Targets(
            boxes=torch.cat([annotated.boxes, output.boxes.float()]),
            labels=torch.cat([annotated.labels, output.labels]),
            crowd=None if annotated.crowd is None else torch.cat([annotated.crowd, crowd]),
        )
