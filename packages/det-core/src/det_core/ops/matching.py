"""Which true object each candidate box stands for."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from det_core.errors import ConfigError
from det_core.structures import Targets

__all__ = ["Match", "Matcher", "without_crowd"]


class Match(NamedTuple):
    """The partner of each candidate.

    `partner` int64 (M,): the object with the highest overlap, 0 where there is none at all; `labels` int8 (M,): what
    the matcher made of that overlap.
    """

    partner: Tensor
    labels: Tensor


class Matcher:
    """Gives each candidate the object it overlaps most, and a label by how much.

    Args:
        thresholds: rising overlaps that part the candidates into ranges; each range includes its lower end.
        labels: one more than thresholds, the label of each range: 1 foreground, 0 background, -1 left out.
        keep_best: label as foreground also each object's best candidates, all of them at a tie, however small their
            overlap, so that no object goes without (Ren et al., "Faster R-CNN", 2015). An object that nothing touches
            ties at 0 with every candidate, which makes all of them foreground, as published.
    """

    def __init__(self, thresholds: Sequence[float], labels: Sequence[int], keep_best: bool = False) -> None:
        if len(labels) != len(thresholds) + 1:
            found = f"got {len(labels)} for {len(thresholds)} thresholds"
            raise ConfigError("iou_labels", "must hold one label more than there are thresholds", found)
        if list(thresholds) != sorted(thresholds):
            raise ConfigError("iou_thresholds", "must rise", f"got {list(thresholds)}")
        if not set(labels) <= {-1, 0, 1}:
            raise ConfigError("iou_labels", "may hold -1, 0 and 1", f"got {list(labels)}")
        self.thresholds, self.labels, self.keep_best = tuple(thresholds), tuple(labels), keep_best

    def __call__(self, overlaps: Tensor) -> Match:
        """Match by overlaps (N objects, M candidates); with no object every candidate gets the lowest range's label."""
        objects, candidates = overlaps.shape
        if objects == 0:
            partner = overlaps.new_zeros(candidates, dtype=torch.int64)
            return Match(partner, torch.full_like(partner, self.labels[0], dtype=torch.int8))
        best, partner = overlaps.max(dim=0)
        labels = torch.full_like(partner, self.labels[0], dtype=torch.int8)
        for threshold, label in zip(self.thresholds, self.labels[1:], strict=True):
            labels.masked_fill_(best >= threshold, label)
        if self.keep_best and candidates:
            best_of_object = overlaps.amax(dim=1, keepdim=True)
            labels.masked_fill_((overlaps == best_of_object).any(dim=0), 1)
        return Match(partner, labels)


def without_crowd(match: Match, targets: Targets) -> Tensor:
    """The labels of a match, int8 (M,), in which the candidates for crowd objects are left out: -1 in place of 1."""
    if targets.crowd is None or not len(targets):
        return match.labels
    return match.labels.masked_fill((match.labels == 1) & targets.crowd[match.partner], -1)
