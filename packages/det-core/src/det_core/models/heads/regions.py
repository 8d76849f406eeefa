"""What all second stages share: extra heads beside that for boxes, and their losses."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from det_core.contracts import BoxPredictor, Pooler, RegionHead
from det_core.errors import ConfigError
from det_core.models.parts.nms import NMS
from det_core.models.parts.samplers import RegionSampler, SampledProposals
from det_core.recipes import Factory
from det_core.structures import Detections, Proposals, Targets

__all__ = ["ExtraHeads", "Regions", "SecondStage", "foreground", "join_losses", "require_box_dim"]


def require_box_dim(where: str, pooler: Pooler, predictor: BoxPredictor) -> None:
    """Raise ConfigError unless a stage pools boxes of the format that its predictor predicts."""
    if predictor.box_dim != pooler.box_dim:
        found = f"the pooler reads boxes of {pooler.box_dim} numbers, its box_weights are {predictor.box_dim}"
        fix = "rotated boxes need both a pooler with pooling: ROIAlignRotated and five box_weights"
        raise ConfigError(f"{where}.box_predictor", "must be for the boxes that are pooled", found, fix)


class Regions(NamedTuple):
    """Sampled regions of all images: `boxes` of each image; `labels` and true boxes `truth` one after another."""

    boxes: list[Tensor]
    labels: Tensor
    truth: Tensor

    @classmethod
    def of(cls, sampled: Sequence[SampledProposals]) -> "Regions":
        """Those of each image."""
        labels = torch.cat([regions.labels for regions in sampled])
        return cls([each.boxes for each in sampled], labels, torch.cat([each.matched_gt_boxes() for each in sampled]))


class SecondStage(nn.Module):
    """What second stages share: sampling, and extra heads on what is detected; a subclass sets the attributes.

    Attributes:
        num_classes: number of foreground classes.
        sampler: the proposals that the losses are computed on.
    """

    contract = "ROIHeads"
    num_classes: int
    sampler: RegionSampler
    _heads: "ExtraHeads"

    def sample(self, proposals: Sequence[Proposals], targets: Sequence[Targets]) -> list[SampledProposals]:
        """A random sample of the proposals of each image, matched with its objects."""
        pairs = zip(proposals, targets, strict=True)
        return [self.sampler(p.boxes, t, self.num_classes, image) for image, (p, t) in enumerate(pairs)]

    def predict_given_boxes(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections with what the extra heads say of them, whoever found them."""
        return self._heads.predict(self, features, detections)

    @property
    def nms(self) -> NMS:
        """Which boxes become detections; AttributeError where the predictor has no such settings."""
        last: Any = self.box_predictor[-1] if isinstance(self.box_predictor, nn.ModuleList) else self.box_predictor
        return cast(NMS, last.nms)

    @property
    def _predictor(self) -> BoxPredictor:
        return cast(BoxPredictor, self.box_predictor)


class ExtraHeads:
    """The heads of a second stage beside that for boxes; they live in it, as modules under their own names.

    Args:
        stage: the module they belong to.
        heads: name -> head, built with `known`.
        known: what the stage knows: `channels`, `strides`, `num_classes`.
    """

    def __init__(self, stage: nn.Module, heads: Mapping[str, Factory[RegionHead]] | None, **known: object) -> None:
        self.names = tuple(heads or {})
        for name, head in (heads or {}).items():
            if hasattr(stage, name):
                raise ConfigError(f"{type(stage).__name__}.heads.{name}", "this name is taken", fix="choose another")
            stage.add_module(name, cast(nn.Module, Factory.of(head)(**known)))

    def losses(
        self, stage: nn.Module, features: Mapping[str, Tensor], sampled: Sequence[SampledProposals], num_classes: int
    ) -> dict[str, Tensor]:
        """What the heads lose on the foreground of the sampled regions."""
        losses: dict[str, Tensor] = {}
        if self.names:
            regions, objects = foreground(sampled, num_classes)
            for name in self.names:
                more = cast(RegionHead, stage.get_submodule(name)).losses(features, regions, objects)
                join_losses(losses, more, name)
        return losses

    def predict(
        self, stage: nn.Module, features: Mapping[str, Tensor], detections: Sequence[Detections]
    ) -> list[Detections]:
        """The detections with what each head says of them."""
        found = list(detections)
        for name in self.names:
            found = cast(RegionHead, stage.get_submodule(name)).predict(features, found)
        return found


def foreground(sampled: Sequence[SampledProposals], num_classes: int) -> tuple[list[Tensor], list[Targets]]:
    """The foreground regions of each image, and the object that each of them stands for."""
    rows = [torch.nonzero(regions.labels < num_classes).squeeze(1) for regions in sampled]
    boxes = [regions.boxes[own] for regions, own in zip(sampled, rows, strict=True)]
    objects = [regions.targets[regions.matched_idxs[own]] for regions, own in zip(sampled, rows, strict=True)]
    return boxes, objects


def join_losses(losses: dict[str, Tensor], more: Mapping[str, Tensor], name: str) -> None:
    """Add the losses of the head called `name`; ConfigError if another one has taken their names."""
    if taken := sorted(losses.keys() & more.keys()):
        raise ConfigError(f"{name}.losses", "returns losses that another head returns too", ", ".join(taken))
    losses.update(more)
