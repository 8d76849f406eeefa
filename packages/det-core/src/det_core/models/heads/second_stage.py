"""Common parts of second stages: extra RoI heads beside the box head, and their losses."""

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
    """Raise ConfigError unless pooler and predictor of a stage have the same box format."""
    if predictor.box_dim != pooler.box_dim:
        found = f"the pooler takes boxes of {pooler.box_dim} numbers, its box_weights are {predictor.box_dim}"
        fix = "rotated boxes need both a pooler with pooling: ROIAlignRotated and five box_weights"
        raise ConfigError(f"{where}.box_predictor", "must have the box format of the pooler", found, fix)


class Regions(NamedTuple):
    """Sampled regions of all images: `boxes` per image; `labels` and ground-truth boxes `matched_gt`, concatenated."""

    boxes: list[Tensor]
    labels: Tensor
    matched_gt: Tensor

    @classmethod
    def of(cls, sampled: Sequence[SampledProposals]) -> "Regions":
        """The regions of all images."""
        labels = torch.cat([regions.labels for regions in sampled])
        return cls([each.boxes for each in sampled], labels, torch.cat([each.matched_gt_boxes() for each in sampled]))


class SecondStage(nn.Module):
    """Base of second stages: sampling, and extra heads on detections; a subclass sets the attributes.

    Attributes:
        num_classes: number of foreground classes, without background.
        sampler: selection of the proposals for training.
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
        """The detections of any source with the predictions of the extra heads."""
        return self._heads.predict(self, features, detections)

    @property
    def nms(self) -> NMS:
        """NMS settings; AttributeError if the predictor has none."""
        last: Any = self.box_predictor[-1] if isinstance(self.box_predictor, nn.ModuleList) else self.box_predictor
        return cast(NMS, last.nms)

    @property
    def _predictor(self) -> BoxPredictor:
        return cast(BoxPredictor, self.box_predictor)


class ExtraHeads:
    """Extra RoI heads of a second stage beside the box head; they are submodules of the stage, by name.

    Args:
        stage: second stage that owns the heads.
        heads: extra heads by name, built with `arguments`.
        arguments: build arguments from the stage: `channels`, `strides`, `num_classes`.
    """

    def __init__(self, stage: nn.Module, heads: Mapping[str, Factory[RegionHead]] | None, **arguments: object) -> None:
        self.names = tuple(heads or {})
        for name, head in (heads or {}).items():
            if hasattr(stage, name):
                raise ConfigError(f"{type(stage).__name__}.heads.{name}", "this name is taken", fix="choose another")
            stage.add_module(name, cast(nn.Module, Factory.of(head)(**arguments)))

    def losses(
        self, stage: nn.Module, features: Mapping[str, Tensor], sampled: Sequence[SampledProposals], num_classes: int
    ) -> dict[str, Tensor]:
        """Losses of the extra heads on the foreground of the sampled regions."""
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
        """The detections with the predictions of each extra head."""
        results = list(detections)
        for name in self.names:
            results = cast(RegionHead, stage.get_submodule(name)).predict(features, results)
        return results


def foreground(sampled: Sequence[SampledProposals], num_classes: int) -> tuple[list[Tensor], list[Targets]]:
    """The foreground regions of each image, and the matched object of each."""
    rows = [torch.nonzero(regions.labels < num_classes).squeeze(1) for regions in sampled]
    boxes = [regions.boxes[selected] for regions, selected in zip(sampled, rows, strict=True)]
    objects = [regions.targets[regions.matched_idxs[selected]] for regions, selected in zip(sampled, rows, strict=True)]
    return boxes, objects


def join_losses(losses: dict[str, Tensor], more: Mapping[str, Tensor], name: str) -> None:
    """Add the losses of the head called `name`; ConfigError for a duplicate name."""
    if duplicates := sorted(losses.keys() & more.keys()):
        raise ConfigError(f"{name}.losses", "has losses with the names of another head", ", ".join(duplicates))
    losses.update(more)
