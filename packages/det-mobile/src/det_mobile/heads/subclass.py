"""A second stage that also gives the sub-class of each detection, as D2Go's StandardROIHeadsWithSubClass does."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from det_core.contracts import BoxHead, Pooler, RegionHead
from det_core.errors import ConfigError, StructureError
from det_core.models import FastRCNNPredictor, RegionSampler, ROIPooler, StandardROIHeads
from det_core.models.heads.second_stage import foreground
from det_core.models.parts.samplers import SampledProposals
from det_core.ops.global_batch import normalizer
from det_core.recipes import Factory
from det_core.structures import Detections
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SUBCLASS", "SUBCLASS_PROBABILITIES", "SubclassROIHeads"]

SUBCLASS = "det-mobile/subclass"
"""Extra of Targets: the sub-class of each object, int64 (N,); 0 is that of the background."""
SUBCLASS_PROBABILITIES = "det-mobile/subclass_probabilities"
"""Extra of Detections: float32 (N, num_subclasses + 1), rows sum to 1."""


class SubclassROIHeads(StandardROIHeads):
    """`StandardROIHeads` with fully connected layers for sub-classes beside the box predictor.

    Args:
        num_subclasses: number of sub-classes, without 0, the background.
        num_layers: number of fully connected layers, without activations between them, as published.
        box_predictor: factory of the box predictor, a `FastRCNNPredictor`.
        others: further keyword arguments of `StandardROIHeads`.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        num_subclasses: int = 1,
        num_layers: int = 1,
        in_features: Sequence[str] | None = None,
        pooler: Factory[Pooler] = Factory(ROIPooler, resolution=7),
        box_head: Factory[BoxHead] | None = None,
        box_predictor: Factory[FastRCNNPredictor] = Factory(FastRCNNPredictor),
        heads: Mapping[str, Factory[RegionHead]] | None = None,
        sampler: RegionSampler = RegionSampler(),  # noqa: B008 (frozen)
    ) -> None:
        if num_subclasses < 1 or num_layers < 1:
            found = f"got {num_subclasses} and {num_layers}"
            raise ConfigError("SubclassROIHeads", "needs at least one sub-class and one layer", found)
        optional: dict[str, Any] = {} if box_head is None else {"box_head": box_head}
        super().__init__(
            *(channels, strides, num_classes),
            **optional,
            in_features=in_features,
            pooler=pooler,
            box_predictor=box_predictor,
            heads=heads,
            sampler=sampler,
        )
        width = int(self.box_head.out_dim)  # type: ignore[arg-type]
        widths = [width] * num_layers + [num_subclasses + 1]
        layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
        self.subclass_head, self.num_subclasses = nn.Sequential(*layers), num_subclasses
        for layer in layers:
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def further_losses(self, box_features: Tensor, sampled: Sequence[SampledProposals]) -> dict[str, Tensor]:
        """ "loss_subclass", the mean cross-entropy over all sampled regions."""
        subclasses = torch.cat([self._subclasses(each) for each in sampled])
        logits = self.subclass_head(box_features.flatten(1)).float()
        loss = F.cross_entropy(logits, subclasses, reduction="sum") / normalizer(len(subclasses), logits)
        return {"loss_subclass": loss}

    def further_predictions(
        self, box_features: Tensor, outputs: Any, boxes: Sequence[Tensor], detections: list[Detections]
    ) -> list[Detections]:
        """The detections of each image with the probabilities of their sub-classes."""
        probabilities = self.subclass_head(box_features.flatten(1)).float().softmax(1)
        counts = [len(each) for each in boxes]
        parts = (part.split(counts) for part in (*outputs, probabilities))
        return [
            replace(
                one, extras={**one.extras, SUBCLASS_PROBABILITIES: rows[self._regions(logits, offsets, image, one)]}
            )
            for logits, offsets, rows, image, one in zip(*parts, boxes, detections, strict=True)
        ]

    def _subclasses(self, sampled: SampledProposals) -> Tensor:
        """The sub-class of each region, 0 in the background."""
        subclasses = torch.zeros_like(sampled.labels)
        rows = torch.nonzero(sampled.labels < self.num_classes).squeeze(1)
        _, (objects,) = foreground([sampled], self.num_classes)
        if not len(rows):
            return subclasses
        if SUBCLASS not in objects.extras:
            fix = "the dataset det-mobile/subclass_coco reads them from an annotation file"
            raise StructureError("Targets.extras", f"{SUBCLASS} is missing: the sub-class of each object", fix=fix)
        numbers = objects.extras[SUBCLASS].long()
        if bool((numbers < 0).any() or (numbers > self.num_subclasses).any()):
            found = f"found {int(numbers.min())} to {int(numbers.max())}"
            raise StructureError(f"Targets.extras[{SUBCLASS}]", f"must be from 0 to {self.num_subclasses}", found)
        subclasses[rows] = numbers
        return subclasses

    def _regions(self, logits: Tensor, offsets: Tensor, boxes: Tensor, detections: Detections) -> Tensor:
        """The region that each detection was made of, int64 (D,): that with its score and its box."""
        predictor: Any = self.box_predictor
        scores = predictor.scores((logits, offsets))[:, detections.labels]
        columns = detections.labels.clamp(max=offsets.shape[1] - 1)
        decoded = predictor.decode((logits, offsets), boxes)[:, columns]
        clipped = predictor.form.clip(decoded.flatten(0, 1), detections.size).unflatten(0, decoded.shape[:2])
        same = (scores == detections.scores) & (clipped == detections.boxes).all(dim=2)
        return same.int().argmax(dim=0) if len(detections) else detections.labels
