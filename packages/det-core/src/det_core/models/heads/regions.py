"""What all second stages share: which levels regions are pooled from, which are learnt from, and further heads."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from det_core.contracts import RegionHead
from det_core.errors import ConfigError
from det_core.ops.geometry import Geometry, geometry
from det_core.ops.matching import Matcher, without_crowd
from det_core.ops.roi import ROIPooler
from det_core.ops.sampling import sample
from det_core.recipes import Factory
from det_core.structures import Detections, Targets

__all__ = ["FurtherHeads", "RegionSampler", "Sampled", "pooled_levels", "require_one_form"]


def pooled_levels(
    where: str, channels: Mapping[str, int], strides: Mapping[str, int], in_features: Sequence[str] | None
) -> tuple[str, ...]:
    """The levels that regions are pooled from, checked: `in_features`, or by default all up to stride 32."""
    names = [n for n, stride in strides.items() if stride <= 32] if in_features is None else list(in_features)
    if not names or any(name not in channels for name in names):
        found = f"got {names}; there are {', '.join(channels)}"
        raise ConfigError(f"{where}.in_features", "must name levels of the backbone", found)
    if len({channels[name] for name in names}) != 1:
        raise ConfigError(f"{where}.in_features", "must have equal channels", f"got {dict(channels)}")
    return tuple(names)


def require_one_form(where: str, pooler: ROIPooler, predictor: object) -> None:
    """Raise ConfigError unless a stage pools boxes of the form that its predictor, if it has one, predicts."""
    form: Geometry = getattr(predictor, "form", pooler.form)
    if form != pooler.form:
        found = f"{pooler.pooling} reads boxes of {pooler.form.dim} numbers, its box_weights are {form.dim}"
        fix = "rotated boxes need both pooler_type: ROIAlignRotated and five box_weights"
        raise ConfigError(f"{where}.box_predictor", "must be for the boxes that are pooled", found, fix)


class Sampled(NamedTuple):
    """Regions of one image to learn from: boxes (P, 4 or 5), labels (P,), the object each stands for, and the truth."""

    boxes: Tensor
    labels: Tensor
    partner: Tensor
    targets: Targets

    def truth(self) -> Tensor:
        """The true box of each region, shaped like `boxes`; without objects the regions themselves."""
        return self.targets.boxes[self.partner] if len(self.targets) else self.boxes


class RegionSampler:
    """Labels proposals by the objects they overlap, and draws those that the losses look at.

    Args:
        num_classes: the label of the background.
        matcher: says which proposals are foreground.
        count: proposals that are drawn from each image; None takes all.
        positive_fraction: how many of them may be foreground.
        append_truth: add the true boxes to the proposals.
    """

    def __init__(
        self, num_classes: int, matcher: Matcher, count: int | None, positive_fraction: float, append_truth: bool
    ) -> None:
        self.num_classes, self.matcher, self.count = num_classes, matcher, count
        self.positive_fraction, self.append_truth = positive_fraction, append_truth

    @torch.no_grad()
    def __call__(self, boxes: Tensor, targets: Targets, image: int = 0) -> Sampled:
        """Draw from the proposals, (N, 4) or rotated (N, 5), of the image at row `image` of the batch."""
        form = geometry(boxes.shape[1])
        form.require(targets.boxes, "Targets.boxes")
        if self.append_truth:
            boxes = torch.cat((boxes, targets.boxes))
        match = self.matcher(form.iou(targets.boxes, boxes))
        found = without_crowd(match, targets)
        count = len(boxes) if self.count is None else self.count
        chosen = sample(found[None], count, self.positive_fraction, [image])[0]
        rows = torch.nonzero(chosen).squeeze(1)
        partner = match.partner[rows]
        labels = torch.full_like(partner, self.num_classes)
        if len(targets):
            labels = torch.where(found[rows] == 1, targets.labels[partner], labels)
        return Sampled(boxes[rows], labels, partner, targets)


class FurtherHeads:
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
        self, stage: nn.Module, features: Mapping[str, Tensor], sampled: Sequence[Sampled], num_classes: int
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


def foreground(sampled: Sequence[Sampled], num_classes: int) -> tuple[list[Tensor], list[Targets]]:
    """The foreground regions of each image, and the object that each of them stands for."""
    rows = [torch.nonzero(regions.labels < num_classes).squeeze(1) for regions in sampled]
    boxes = [regions.boxes[own] for regions, own in zip(sampled, rows, strict=True)]
    objects = [regions.targets[regions.partner[own]] for regions, own in zip(sampled, rows, strict=True)]
    return boxes, objects


def join_losses(losses: dict[str, Tensor], more: Mapping[str, Tensor], name: str) -> None:
    """Add the losses of the head called `name`; ConfigError if another one has taken their names."""
    if taken := sorted(losses.keys() & more.keys()):
        raise ConfigError(f"{name}.losses", "returns losses that another head returns too", ", ".join(taken))
    losses.update(more)
