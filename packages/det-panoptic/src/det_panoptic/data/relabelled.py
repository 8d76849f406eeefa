"""Label images with values that are mapped to labels."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from det_core.structures import Sample, Size
from det_datasets.readers import SemanticFolder

__all__ = ["Relabelled"]

_UNKNOWN = 255


class Relabelled:
    """The images of a folder, with label i for the value `values[i]` of a label image, and 255 for other values."""

    evaluators: tuple[str, ...] = ("det_datasets.evaluators:MeanIoU",)

    def __init__(self, files: SemanticFolder, values: Sequence[int]) -> None:
        self._files = files
        self._labels = torch.full((256,), _UNKNOWN)
        self._labels[torch.tensor(values)] = torch.arange(len(values))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        """The image and its semantic map, 255 where ignored."""
        sample = self._files[index]
        assert sample.targets is not None
        assert sample.targets.semantic is not None
        return replace(sample, targets=replace(sample.targets, semantic=self._labels[sample.targets.semantic]))

    def path(self, index: int) -> Path:
        """File of an image."""
        return self._files.path(index)

    def size_of(self, index: int) -> Size:
        """(height, width), from the image header."""
        return self._files.size_of(index)

    def labels_of(self, index: int) -> Sequence[int]:
        """Empty, as semantic annotations have no objects."""
        return ()
