"""Matching of candidate boxes to ground-truth boxes by IoU."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from det_core.errors import ConfigError
from det_core.structures import Targets

__all__ = ["Match", "Matcher", "without_crowd"]


class Match(NamedTuple):
    """The match of each candidate.

    `matched_idxs` int64 (M,): index of the ground-truth box of highest IoU, 0 without objects; `labels` int8 (M,):
    label for that IoU.
    """

    matched_idxs: Tensor
    labels: Tensor


class Matcher:
    """Matches each candidate to the ground-truth box of highest IoU, with a label by thresholds.

    Args:
        thresholds: ascending IoUs that separate background, ignored and foreground; each range includes its lower end.
        labels: label of each range, one more than thresholds: 1 foreground, 0 background, -1 ignore.
        keep_best: whether the best candidates of each object, including ties, are foreground at any IoU, so that every
            object has a match (Ren et al., "Faster R-CNN", 2015). For an object without overlap all candidates tie at
            0, which makes all of them foreground, as published.
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
        """Match by IoUs (N objects, M candidates); without objects all have the label of the lowest range."""
        objects, candidates = overlaps.shape
        if objects == 0:
            matched_idxs = overlaps.new_zeros(candidates, dtype=torch.int64)
            return Match(matched_idxs, torch.full_like(matched_idxs, self.labels[0], dtype=torch.int8))
        best, matched_idxs = overlaps.max(dim=0)
        labels = torch.full_like(matched_idxs, self.labels[0], dtype=torch.int8)
        for threshold, label in zip(self.thresholds, self.labels[1:], strict=True):
            labels.masked_fill_(best >= threshold, label)
        if self.keep_best and candidates:
            best_of_object = overlaps.amax(dim=1, keepdim=True)
            labels.masked_fill_((overlaps == best_of_object).any(dim=0), 1)
        return Match(matched_idxs, labels)


def without_crowd(match: Match, targets: Targets) -> Tensor:
    """The labels of a match, int8 (M,), with candidates of crowds ignored: -1 in place of 1."""
    if targets.crowd is None or not len(targets):
        return match.labels
    return match.labels.masked_fill((match.labels == 1) & targets.crowd[match.matched_idxs], -1)
