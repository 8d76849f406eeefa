"""Faster CPU implementations of parts of a model, installed and removed by `accelerate`.

Training and prediction call `accelerate` on their models; `accelerate(model, on=False)` removes everything again.
Results agree up to rounding, and the state dict has the same keys and values.
"""

import os
from collections.abc import Sequence
from typing import cast

import torch
import torchvision
from torch import Tensor, nn

from det_core.models.heads.rpn import RPN, RPNHead, RPNOutputs, run_head
from det_core.ops.cpu.frozen_norm import scale_and_shift_in_place
from det_core.ops.cpu.roi_align import roi_align
from det_core.ops.cpu.sampled_convolutions import at_pixels
from det_core.ops.layers import Conv2d, FrozenBatchNorm2d, scale_and_shift
from det_core.ops.roi import ROIPooler

__all__ = ["SampledRPNOutputs", "accelerate", "run_head_at_samples"]


def accelerate(model: nn.Module, on: bool = True) -> nn.Module:
    """Install the faster implementations in `model`, in place, or remove them; returns the model.

    On a CPU the weights of convolutions are in the channels-last memory format, and so are then the feature maps.
    Frozen norms after our convolutions run in place, ROIAlign is an embedding bag, and the losses of an RPN run its
    head at the sampled anchors only, where that is less work. `DET_ACCELERATE=0` in the environment switches them off.
    """
    on = on and os.environ.get("DET_ACCELERATE") != "0"
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.weight.is_cpu:
            module.to(memory_format=torch.channels_last if on else torch.contiguous_format)
        if isinstance(module, Conv2d) and isinstance(module.norm, FrozenBatchNorm2d):
            module.norm.scale_and_shift = scale_and_shift_in_place if on else scale_and_shift
        elif isinstance(module, ROIPooler):
            module.roi_align = roi_align if on else torchvision.ops.roi_align
        elif isinstance(module, RPN):
            module.run_head = run_head_at_samples if on else run_head
    return model


class SampledRPNOutputs(RPNOutputs):
    """Predictions without gradient for proposals; those of sampled anchors are recomputed with gradient."""

    head: RPNHead
    features: Sequence[Tensor]

    def of_anchors(self, image: Tensor, anchor: Tensor) -> tuple[Tensor, Tensor]:
        """As `RPNOutputs.of_anchors`, at the cost of these anchors only."""
        rows, logits, offsets, first = [], [], [], 0
        per_pixel = self.head.anchors
        for level in self.features:
            height, width = level.shape[-2:]
            on_level = torch.nonzero((anchor >= first) & (anchor < first + height * width * per_pixel)).squeeze(1)
            pixel, which = (anchor[on_level] - first) // per_pixel, (anchor[on_level] - first) % per_pixel
            x = at_pixels(_convs(self.head), level, image[on_level], pixel // width, pixel % width)
            anchor_rows = torch.arange(len(on_level), device=on_level.device), which
            logits.append(self.head.objectness_logits(x).flatten(1)[anchor_rows])
            offsets.append(self.head.anchor_deltas(x).reshape(len(on_level), per_pixel, self.head.box_dim)[anchor_rows])
            rows.append(on_level)
            first += height * width * per_pixel
        order = torch.cat(rows).argsort()
        return torch.cat(logits)[order], torch.cat(offsets)[order]


def run_head_at_samples(head: nn.Module, features: Sequence[Tensor], count: int) -> RPNOutputs:
    """As `det_core.models.heads.rpn.run_head`; only the anchors in the losses have a gradient.

    The losses use a thousandth of the anchors; a gradient of all would be a tenth of the work of a training step. Heads
    with their own `forward`, and small maps, are run as usual.
    """
    own_forward = type(head).forward is not RPNHead.forward
    if own_forward or not _gains(cast(RPNHead, head), features, count):
        return run_head(head, features, count)
    with torch.no_grad():
        outputs = SampledRPNOutputs(*head(features))
    outputs.head, outputs.features = cast(RPNHead, head), features
    return outputs


def _gains(head: RPNHead, features: Sequence[Tensor], count: int) -> bool:
    """Whether so many anchors per image lie among fewer pixels than the maps have."""
    around = (2 * len(_convs(head)) + 1) ** 2
    return count * around < sum(level[0, 0].numel() for level in features)


def _convs(head: RPNHead) -> list[Conv2d]:
    return [conv for conv in head.conv.modules() if isinstance(conv, Conv2d)]
