"""Which object a box is matched to, as `detectron2.modeling.matcher`."""

import torch
from torch import Tensor

__all__ = ["Matcher"]


class Matcher:
    """Assigns to each candidate the object of highest quality, and a label by thresholds.

    Args:
        thresholds: IoU thresholds between the ranges of `labels`, ascending and above 0.
        labels: label of each range: 0 background, -1 ignored, 1 foreground.
        allow_low_quality_matches: whether the best candidates of each object are foreground at any quality.
    """

    def __init__(self, thresholds: list[float], labels: list[int], allow_low_quality_matches: bool = False) -> None:
        thresholds = list(thresholds)
        assert thresholds[0] > 0
        self.thresholds = [-float("inf"), *thresholds, float("inf")]
        assert all(low <= high for low, high in zip(self.thresholds, self.thresholds[1:], strict=False))
        assert all(label in (-1, 0, 1) for label in labels)
        assert len(labels) == len(self.thresholds) - 1
        self.labels, self.allow_low_quality_matches = list(labels), allow_low_quality_matches

    def __call__(self, match_quality_matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Qualities (objects, candidates) to the object of each candidate, int64, and its label, int8."""
        assert match_quality_matrix.dim() == 2
        count = match_quality_matrix.size(1)
        if match_quality_matrix.numel() == 0:
            return (
                match_quality_matrix.new_full((count,), 0, dtype=torch.int64),
                match_quality_matrix.new_full((count,), self.labels[0], dtype=torch.int8),
            )
        assert torch.all(match_quality_matrix >= 0)
        best, matches = match_quality_matrix.max(dim=0)
        match_labels = matches.new_full(matches.size(), 1, dtype=torch.int8)
        for label, low, high in zip(self.labels, self.thresholds[:-1], self.thresholds[1:], strict=True):
            match_labels[(best >= low) & (best < high)] = label
        if self.allow_low_quality_matches:
            self.set_low_quality_matches_(match_labels, match_quality_matrix)
        return matches, match_labels

    def set_low_quality_matches_(self, match_labels: Tensor, match_quality_matrix: Tensor) -> None:
        """Let the best candidates of each object be foreground, in place."""
        best, _ = match_quality_matrix.max(dim=1)
        match_labels[(match_quality_matrix == best[:, None]).any(dim=0)] = 1
