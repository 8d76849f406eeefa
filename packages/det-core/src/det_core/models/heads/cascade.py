"""Cascade R-CNN (Cai and Vasconcelos, "Cascade R-CNN", 2018): box heads in a row, each refining the boxes before it."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from det_core.contracts import BoxHead, CascadeBoxPredictor, Pooler, RegionHead
from det_core.errors import ConfigError
from det_core.models.heads.box import FastRCNNConvFCHead, FastRCNNPredictor
from det_core.models.heads.second_stage import ExtraHeads, Regions, SecondStage, join_losses, require_box_dim
from det_core.models.parts.levels import select_levels
from det_core.models.parts.samplers import RegionSampler, SampledProposals
from det_core.ops.geometry import geometry
from det_core.ops.roi import ROIPooler
from det_core.recipes import Factory
from det_core.structures import Detections, Proposals, Size, Targets

__all__ = ["CascadeROIHeads"]

_WEIGHTS = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))


class CascadeROIHeads(SecondStage):
    """Stages of a box head and its predictor; each refines the boxes of the one before, with a higher IoU threshold.

    Box regression is class-agnostic. Scores are the mean over the stages, boxes those of the last; extra heads are
    trained on the proposals of the first stage.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        num_classes: number of foreground classes, without background.
        in_features: feature levels of the box pooler; by default all up to stride 32.
        pooler: built with `strides` of those levels.
        box_head: head of each stage, built with `in_channels` and `resolution`.
        box_predictor: predictor of each stage, built with `in_dim`, `num_classes`, `class_agnostic` and `box_weights`.
        box_weights: weights of the offsets (dx, dy, dw, dh), or (dx, dy, dw, dh, da) of rotated boxes, for each stage.
        heads: extra RoI heads, as in `StandardROIHeads`.
        sampler: training samples of the first stage; later stages use all its proposals.
        later_ious: foreground IoU threshold of each later stage.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        in_features: Sequence[str] | None = None,
        pooler: Factory[Pooler] = Factory(ROIPooler, resolution=7),
        box_head: Factory[BoxHead] = Factory(FastRCNNConvFCHead),
        box_predictor: Factory[CascadeBoxPredictor] = Factory(FastRCNNPredictor),
        box_weights: Sequence[Sequence[float]] = _WEIGHTS,
        heads: Mapping[str, Factory[RegionHead]] | None = None,
        sampler: RegionSampler = RegionSampler(),  # noqa: B008 (frozen)
        later_ious: Sequence[float] = (0.6, 0.7),
    ) -> None:
        super().__init__()
        if len(box_weights) != len(later_ious) + 1:
            found = f"got {len(box_weights)} for {len(later_ious) + 1} stages"
            raise ConfigError("CascadeROIHeads.box_weights", "must be one set for each stage", found)
        names = select_levels("CascadeROIHeads", channels, in_features, strides)
        self.num_classes, self.in_features, self.stages = num_classes, names, len(box_weights)
        box_pooler = Factory.of(pooler)(strides=[strides[name] for name in names])
        self.box_pooler = cast(nn.Module, box_pooler)
        make, width = Factory.of(box_head), channels[names[0]]
        built = [make(in_channels=width, resolution=box_pooler.resolution) for _ in box_weights]
        self.box_head = nn.ModuleList([cast(nn.Module, head) for head in built])
        predictor = Factory.of(box_predictor)
        predictors = [
            predictor(in_dim=head.out_dim, num_classes=num_classes, class_agnostic=True, box_weights=tuple(weights))
            for head, weights in zip(built, box_weights, strict=True)
        ]
        for each in predictors:
            require_box_dim("CascadeROIHeads", box_pooler, each)
        self.box_predictor = nn.ModuleList([cast(nn.Module, each) for each in predictors])
        self.form = geometry(box_pooler.box_dim)
        self._heads = ExtraHeads(self, heads, channels=channels, strides=strides, num_classes=num_classes)
        self.sampler = sampler
        self._later = [RegionSampler((iou,), (0, 1), None, 1.0, append_ground_truth=False) for iou in later_ious]

    def losses(
        self,
        features: Mapping[str, Tensor],
        proposals: Sequence[Proposals],
        targets: Sequence[Targets],
        sizes: Sequence[Size],
    ) -> dict[str, Tensor]:
        """Box losses of each stage, with names that end in _stage0, _stage1 ..., and the losses of the extra heads."""
        first = self.sample(proposals, targets)
        losses: dict[str, Tensor] = {}
        sampled = first
        for stage in range(self.stages):
            boxes, labels, matched_gt = Regions.of(sampled)
            outputs = self._run(stage, features, boxes)
            stage_losses = self._stage(stage).losses(outputs, torch.cat(boxes), labels, matched_gt)
            losses |= {f"{name}_stage{stage}": value for name, value in stage_losses.items()}
            if stage < len(self._later):
                moved = self._move(stage, outputs, boxes, sizes)
                sampled = [self._match(stage, each, target) for each, target in zip(moved, targets, strict=True)]
        more = self._heads.losses(self, features, first, self.num_classes)
        join_losses(losses, more, next(iter(self._heads.names), ""))
        return losses

    def predict(
        self, features: Mapping[str, Tensor], proposals: Sequence[Proposals], sizes: Sequence[Size]
    ) -> list[Detections]:
        """Detections of each image, best first, with the predictions of the extra heads."""
        boxes = [p.boxes for p in proposals]
        outputs = self._run(0, features, boxes)
        scores = [self._stage(0).scores(outputs)]
        for stage in range(1, self.stages):
            boxes = self._move(stage - 1, outputs, boxes, sizes)
            outputs = self._run(stage, features, boxes)
            scores.append(self._stage(stage).scores(outputs))
        mean = torch.stack(scores).mean(dim=0)
        last = self._stage(self.stages - 1)
        detections = last.select(last.decode(outputs, torch.cat(boxes)), mean, [len(each) for each in boxes], sizes)
        return self.predict_given_boxes(features, detections)

    def networks(self) -> list[nn.Module]:
        """As `det_core.contracts.Compilable`."""
        return [*self.box_head]

    def _stage(self, stage: int) -> CascadeBoxPredictor:
        return cast(CascadeBoxPredictor, self.box_predictor[stage])

    def _run(self, stage: int, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Any:
        pooled = self.box_pooler([features[name] for name in self.in_features], boxes)
        # All stages share the features, so each scales its gradient.
        pooled = _ScaledGradient.apply(pooled, 1 / self.stages)
        return self.box_predictor[stage](self.box_head[stage](pooled))

    @torch.no_grad()
    def _move(self, stage: int, outputs: Any, boxes: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
        """Refined boxes of a stage, clipped to their images."""
        decoded = self._stage(stage).decode(outputs, torch.cat(list(boxes)))[:, 0]
        per_image = decoded.nan_to_num().split([len(each) for each in boxes])
        return [self.form.clip(each, size) for each, size in zip(per_image, sizes, strict=True)]

    def _match(self, stage: int, boxes: Tensor, targets: Targets) -> SampledProposals:
        return self._later[stage](boxes[self.form.larger_than(boxes, 0)], targets, self.num_classes)


class _ScaledGradient(torch.autograd.Function):
    """The identity with a scaled gradient."""

    @staticmethod
    def forward(context: Any, x: Tensor, scale: float) -> Tensor:
        context.scale = scale
        return x

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * context.scale, None
