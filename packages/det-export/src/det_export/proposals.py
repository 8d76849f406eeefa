"""Proposals as a third input of a file, for models that take them with each image (Fast R-CNN)."""

import torch
from det_core.errors import ConfigError
from det_core.models import RCNN
from det_core.structures import ImageBatch, Proposals, Size
from torch import Tensor, nn

__all__ = ["inputs_of", "synthetic", "takes_proposals", "with_proposals"]

_SIDES = (0.15, 0.3, 0.5, 0.8)  # of a box, as a share of the image's
_PLACES = 4  # along each axis


def takes_proposals(model: nn.Module) -> bool:
    """Whether a part of the model is a second stage without a first."""
    return any(isinstance(each, RCNN) and each.proposal_generator is None for each in model.modules())


def synthetic(size: Size) -> Proposals:
    """Synthetic proposals for an image (height, width) without any: boxes of four sizes at sixteen places."""
    height, width = size
    shares = torch.linspace(0, 1, _PLACES)
    boxes = []
    for side in _SIDES:
        for top in (shares * (1 - side)).tolist():
            for left in (shares * (1 - side)).tolist():
                boxes.append((left * width, top * height, (left + side) * width, (top + side) * height))
    return Proposals(boxes=torch.tensor(boxes), logits=torch.zeros(len(boxes)))


def with_proposals(model: nn.Module, batch: ImageBatch) -> ImageBatch:
    """The batch, with synthetic proposals where the model takes some and there are none.

    Raises:
        ConfigError: the model takes proposals, and there are several images.
    """
    if not takes_proposals(model):
        return batch
    if len(batch) != 1:
        fix = "leave out --batch and --dynamic-batch"
        raise ConfigError("batch", "is of one image where a model takes proposals", f"got {len(batch)}", fix)
    if batch.proposals is not None:
        return batch
    return ImageBatch(pixels=batch.pixels, sizes=batch.sizes, proposals=(synthetic(batch.sizes[0]),))


def inputs_of(proposals: Proposals) -> tuple[Tensor]:
    """The third input of a program, after pixels and sizes: proposals float32 (N, 4).

    A graph does not accept zero proposals; then one empty box replaces them, which is never detected.
    """
    boxes = proposals.boxes.float()
    return (boxes if len(boxes) else boxes.new_zeros(1, 4),)
