"""Label images whose values are not yet labels."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from det_core.structures import Sample

__all__ = ["relabelled"]

_UNKNOWN = 255


def relabelled(sample: Sample, values: Sequence[int]) -> Sample:
    """The sample with label i where its semantic map holds `values[i]`, and 255 elsewhere."""
    assert sample.targets is not None
    assert sample.targets.semantic is not None
    table = torch.full((256,), _UNKNOWN)
    table[torch.tensor(values)] = torch.arange(len(values))
    return replace(sample, targets=replace(sample.targets, semantic=table[sample.targets.semantic]))
