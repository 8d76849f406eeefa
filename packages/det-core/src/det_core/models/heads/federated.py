"""Federated loss: classes of the loss for datasets whose images are not annotated for all of them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from det_core.errors import ConfigError, DataError
from det_core.files import jsonfile

__all__ = ["FederatedClasses"]


class FederatedClasses:
    """Samples the classes of a federated loss: those of the batch, and others by frequency.

    Where the annotation of a class is not exhaustive, absence is unknown; a loss over few classes at a time is less
    often wrong (Zhou et al., "Probabilistic two-stage detection", 2021, after Gupta et al., "LVIS", 2019).

    Args:
        counts: number of images with each class, by label.
        counts_from: alternatively, an LVIS annotation file with `image_count` of each category, by ascending id. It is
            read for the first loss.
        classes: minimum number of classes; those of the batch count, including the background, as published.
        power: exponent of the counts in the sampling probability.
    """

    def __init__(
        self,
        counts: Sequence[float] | None = None,
        counts_from: Path | None = None,
        classes: int = 50,
        power: float = 0.5,
    ) -> None:
        if (counts is None) == (counts_from is None):
            raise ConfigError("FederatedClasses", "needs either counts or counts_from")
        if classes < 1:
            raise ConfigError("FederatedClasses.classes", "must be at least 1", f"got {classes}")
        self.counts, self.counts_from, self.classes, self.power = counts, counts_from, classes, power
        self._weights: Tensor | None = None

    @torch.no_grad()
    def __call__(self, labels: Tensor, weights: Tensor) -> Tensor:
        """Mask of the classes in the loss, bool (C,), for labels int64 (P,) with C for the background.

        `weights` (C,) are the result of `weights`, or from a checkpoint.
        """
        present = labels.unique()
        weights = weights.to(labels.device, copy=True)
        selected = torch.zeros(len(weights) + 1, dtype=torch.bool, device=labels.device)
        selected[present] = True
        weights[selected[:-1]] = 0
        missing = min(self.classes - len(present), int((weights > 0).sum()))
        if missing > 0:
            selected[weights.multinomial(missing)] = True
        return selected[:-1]

    def weights(self, num_classes: int) -> Tensor:
        """Sampling probability of each class, float32 (num_classes,), not normalized.

        Raises:
            ConfigError: the number of counts is not the number of classes.
            DataError: the file cannot be read, or has no counts.
        """
        if self._weights is None:
            counts = _read(self.counts_from) if self.counts is None and self.counts_from else list(self.counts or ())
            where = str(self.counts_from or "FederatedClasses.counts")
            if len(counts) != num_classes:
                found = f"got {len(counts)} for {num_classes} classes"
                raise ConfigError(where, "must hold one count for each class", found)
            if any(count < 0 for count in counts):
                raise ConfigError(where, "must hold no negative count", f"got {min(counts)}")
            self._weights = torch.tensor(counts, dtype=torch.float32, device="cpu") ** self.power
        return self._weights


def _read(path: Path) -> list[float]:
    try:
        categories = jsonfile.read(path)["categories"]
        return [float(each["image_count"]) for each in sorted(categories, key=lambda each: each["id"])]
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        found = f"{type(error).__name__}: {error}"
        fix = "give an LVIS annotation file, or `counts`"
        raise DataError(str(path), "does not give the number of images of each category", found, fix) from error
