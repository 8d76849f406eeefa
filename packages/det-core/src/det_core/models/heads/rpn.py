"""Region proposal network (Ren et al., "Faster R-CNN", 2015)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from det_core import contracts
from det_core.errors import ConfigError
from det_core.models.parts.anchors import AnchorGenerator, anchors_per_pixel
from det_core.models.parts.levels import select_levels
from det_core.models.parts.nms import ProposalNMS
from det_core.models.parts.regression import BoxRegression
from det_core.models.parts.samplers import AnchorSampler
from det_core.ops import boxes as box_ops
from det_core.ops.layers import Conv2d, draw_weights
from det_core.recipes import Factory
from det_core.structures import Proposals, Size, Targets

__all__ = ["RPN", "RPNHead", "RPNOutputs"]


class RPNOutputs(NamedTuple):
    """Predictions for every anchor, per level: `logits` (B, H * W * A), `offsets` (B, H * W * A, box_dim)."""

    logits: list[Tensor]
    offsets: list[Tensor]

    def of_anchors(self, image: Tensor, anchor: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (K,) and offsets (K, box_dim) of anchors, by image and by index over all levels, int64 (K,)."""
        return torch.cat(self.logits, dim=1)[image, anchor], torch.cat(self.offsets, dim=1)[image, anchor]


def run_head(head: nn.Module, features: Sequence[Tensor], count: int) -> RPNOutputs:
    """Predictions of an RPN head; the losses will need `count` anchors of each image."""
    return RPNOutputs(*head(features))


class RPNHead(nn.Module):
    """Objectness and box offsets for the anchors of every feature pixel; shared by all levels.

    Args:
        in_channels: number of channels of every feature level.
        anchors: number of anchors per feature pixel.
        conv_dims: output channels of the 3 x 3 convolutions before the two predictions; -1 to keep the number.
        box_dim: offsets per anchor: 4, or 5 for rotated ones.
    """

    contract = "RPNHead"

    def __init__(self, in_channels: int, anchors: int, *, conv_dims: Sequence[int] = (-1,), box_dim: int = 4) -> None:
        super().__init__()
        if not conv_dims or any(dim == 0 or dim < -1 for dim in conv_dims):
            raise ConfigError("RPNHead.conv_dims", "needs channel numbers, or -1 to keep them", f"got {conv_dims}")
        convs: list[nn.Module] = []
        channels = in_channels
        for dim in conv_dims:
            convs.append(Conv2d(channels, channels if dim == -1 else dim, 3, activation=F.relu_))
            channels = channels if dim == -1 else dim
        named = {f"conv{i}": conv for i, conv in enumerate(convs)}
        self.anchors = anchors
        self.conv = convs[0] if len(convs) == 1 else nn.Sequential()
        if len(convs) > 1:
            for name, conv in named.items():
                self.conv.add_module(name, conv)
        self.box_dim = box_dim
        self.objectness_logits = nn.Conv2d(channels, anchors, 1)
        self.anchor_deltas = nn.Conv2d(channels, anchors * box_dim, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                draw_weights(module, 0.01)

    def forward(self, features: Sequence[Tensor]) -> RPNOutputs:
        """Levels (B, C, H, W) to one logit and `box_dim` offsets per anchor, by row, then column, then anchor."""
        logits, offsets = [], []
        for level in features:
            x = self.conv(level)
            logits.append(self.objectness_logits(x).permute(0, 2, 3, 1).flatten(1))
            offsets.append(self.anchor_deltas(x).permute(0, 2, 3, 1).reshape(len(x), -1, self.box_dim))
        return RPNOutputs(logits, offsets)


class RPN(nn.Module):
    """Region proposals of any class; rotated ones, if its anchors are.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        in_features: feature levels of the head; None for all.
        anchor_generator: built with `strides` of those levels.
        head: built with `in_channels`, `anchors` and `box_dim`.
        sampler: training samples of the anchors.
        box_weights: weights of the offsets (dx, dy, dw, dh), or (dx, dy, dw, dh, da) of rotated boxes.
        box_regression: loss of box offsets, and its weight.
        loss_weight: factor on objectness and box loss in the sum.
        box_loss_weight: weight of the box loss, on top of `loss_weight`.
        nms: pre-NMS and post-NMS top-k, and NMS.

    Attributes:
        run_head: function that runs the head in training; `det_core.models.cpu_acceleration` installs a faster one.
    """

    contract = "ProposalGenerator"

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        *,
        in_features: Sequence[str] | None = None,
        anchor_generator: Factory[contracts.AnchorGenerator] = Factory(AnchorGenerator),
        head: Factory[contracts.RPNHead] = Factory(RPNHead),
        sampler: AnchorSampler = AnchorSampler(),  # noqa: B008 (frozen)
        box_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        box_regression: BoxRegression = BoxRegression(),  # noqa: B008 (frozen)
        loss_weight: float = 1.0,
        box_loss_weight: float = 1.0,
        nms: ProposalNMS = ProposalNMS(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        self.in_features = select_levels("RPN", channels, in_features)
        generator = Factory.of(anchor_generator)(strides={name: strides[name] for name in self.in_features})
        anchors = anchors_per_pixel("RPN", generator)
        self.form = box_regression.box_format("RPN", box_weights)
        if self.form.dim != generator.box_dim:
            found = f"got {len(box_weights)} for anchors of {generator.box_dim}"
            raise ConfigError("RPN.box_weights", "must be one for each number of a box", found)
        width = channels[self.in_features[0]]
        built = Factory.of(head)(in_channels=width, anchors=anchors, box_dim=self.form.dim)
        self.anchor_generator, self.rpn_head = cast(nn.Module, generator), cast(nn.Module, built)
        self.sampler, self.nms = sampler, nms
        self.box_weights, self.box_regression = tuple(box_weights), box_regression
        self.loss_weight, self.box_loss_weight = loss_weight, box_loss_weight
        self.run_head = run_head

    def forward(
        self, features: Mapping[str, Tensor], sizes: Sequence[Size], targets: Sequence[Targets] | None = None
    ) -> tuple[list[Proposals], dict[str, Tensor]]:
        """Proposals of each image by descending objectness, and losses ({} without `targets`).

        Proposals have no gradient: the second stage treats them as constants.
        """
        levels = [features[name] for name in self.in_features]
        anchors = self.anchor_generator(levels)
        if targets is None:
            return self.propose(anchors, RPNOutputs(*self.rpn_head(levels)), sizes, training=False), {}
        outputs = self.run_head(self.rpn_head, levels, self.sampler.batch_size_per_image)
        losses = self.losses(anchors, outputs, sizes, targets)
        return self.propose(anchors, outputs, sizes, training=True), losses

    def networks(self) -> list[nn.Module]:
        """As `det_core.contracts.Compilable`."""
        return [self.rpn_head]

    def losses(
        self,
        anchors: Sequence[Tensor],
        outputs: RPNOutputs,
        sizes: Sequence[Size],
        targets: Sequence[Targets],
    ) -> dict[str, Tensor]:
        """{"loss_rpn_cls", "loss_rpn_loc"}: sums over the sampled anchors, divided by images x batch_size_per_image."""
        all_anchors = torch.cat(list(anchors))
        matched = [self.sampler.match(all_anchors, size, target) for size, target in zip(sizes, targets, strict=True)]
        labels = torch.stack([labels for labels, _ in matched])
        image, anchor = torch.nonzero(self.sampler.draw(labels), as_tuple=True)
        logits, offsets = outputs.of_anchors(image, anchor)
        kinds = labels[image, anchor]
        classification = F.binary_cross_entropy_with_logits(logits.float(), kinds.float(), reduction="sum")
        boxes = torch.stack([boxes for _, boxes in matched])[image, anchor]
        offsets, references, boxes = (each[kinds == 1] for each in (offsets, all_anchors[anchor], boxes))
        regression = self.box_regression(offsets, references, boxes, self.box_weights)
        scale = self.loss_weight / (self.sampler.batch_size_per_image * len(sizes))
        return {"loss_rpn_cls": classification * scale, "loss_rpn_loc": regression * scale * self.box_loss_weight}

    @torch.no_grad()
    def propose(
        self, anchors: Sequence[Tensor], outputs: RPNOutputs, sizes: Sequence[Size], *, training: bool
    ) -> list[Proposals]:
        """The best boxes of each level, decoded, clipped and after NMS; best first over all levels."""
        boxes, scores, groups = [], [], []
        for i, (grid, logits, offsets) in enumerate(zip(anchors, outputs.logits, outputs.offsets, strict=True)):
            top, index = logits.float().topk(min(self.nms.pre_nms_topk(training), logits.shape[1]), dim=1)
            selected = offsets.gather(1, index[..., None].expand(-1, -1, self.form.dim))
            boxes.append(self.form.decode(selected, grid[index], self.box_weights))
            scores.append(top)
            groups.append(torch.full_like(index[0], i))
        candidates = torch.cat(boxes, dim=1), torch.cat(scores, dim=1), torch.cat(groups)
        return self.suppress(*candidates, sizes, self.nms.post_nms_topk(training))

    def suppress(
        self, boxes: Tensor, scores: Tensor, level: Tensor, sizes: Sequence[Size], most: int
    ) -> list[Proposals]:
        """The proposals of each image, from boxes (B, N, 4 or 5) and scores (B, N), and the level of each, (N,)."""
        proposals = []
        for box, score, size in zip(boxes, scores, sizes, strict=True):
            clipped = self.form.clip(box, size)
            usable = box_ops.finite(box, score) & self.form.larger_than(clipped, self.nms.min_size)
            rows = torch.nonzero(usable).squeeze(1)
            keep = self.form.nms_by_group(clipped[rows], score[rows], level[rows], self.nms.iou_threshold)[:most]
            proposals.append(Proposals(boxes=clipped[rows[keep]], logits=score[rows[keep]]))
        return proposals
