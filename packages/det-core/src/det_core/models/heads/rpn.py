"""Region proposal network (Ren et al., "Faster R-CNN", 2015)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from det_core.errors import ConfigError
from det_core.models.parts.anchors import AnchorGenerator
from det_core.ops import boxes as box_ops
from det_core.ops.layers import Conv2d
from det_core.ops.losses import BoxLoss, box_loss, regressed
from det_core.ops.matching import Matcher, without_crowd
from det_core.ops.sampling import sample
from det_core.recipes import Factory
from det_core.structures import Proposals, Size, Targets

__all__ = ["RPN", "RPNHead", "RPNOutputs"]


class RPNOutputs(NamedTuple):
    """What the head says of every anchor, per level: `logits` (B, H * W * A), `offsets` (B, H * W * A, box_dim)."""

    logits: list[Tensor]
    offsets: list[Tensor]


class RPNHead(nn.Module):
    """Objectness and box offsets for the anchors of every feature pixel; one head for all levels.

    Args:
        in_channels: of every level.
        anchors: per feature pixel.
        conv_dims: output channels of the 3 x 3 convolutions before the two predictions; -1 keeps the number.
        box_dim: offsets per anchor: 4, or 5 for rotated ones.
    """

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
        self.anchors, self.reach = anchors, len(convs)
        self.conv = convs[0] if len(convs) == 1 else nn.Sequential()
        if len(convs) > 1:
            for name, conv in named.items():
                self.conv.add_module(name, conv)
        self.box_dim = box_dim
        self.objectness_logits = nn.Conv2d(channels, anchors, 1)
        self.anchor_deltas = nn.Conv2d(channels, anchors * box_dim, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> RPNOutputs:
        """Levels (B, C, H, W) to one logit and `box_dim` offsets per anchor, by row, then column, then anchor."""
        logits, offsets = [], []
        for level in features:
            x = self.conv(level)
            logits.append(self.objectness_logits(x).permute(0, 2, 3, 1).flatten(1))
            offsets.append(self.anchor_deltas(x).permute(0, 2, 3, 1).reshape(len(x), -1, self.box_dim))
        return RPNOutputs(logits, offsets)

    def gains(self, features: Sequence[Tensor], anchors: int) -> bool:
        """Whether `at`, for so many anchors of each image, looks at fewer pixels than `forward` does."""
        around = (2 * self.reach + 1) ** 2
        return anchors * around < sum(level[0, 0].numel() for level in features)

    def at(self, features: Sequence[Tensor], image: Tensor, anchor: Tensor) -> tuple[Tensor, Tensor]:
        """What `forward` says of some anchors alone, for the work of those: logits (K,) and offsets (K, box_dim).

        Args:
            features: levels (B, C, H, W).
            image: of each anchor, int64 (K,).
            anchor: its number among those of all levels, one after another, int64 (K,).
        """
        found, first = [], 0
        for level in features:
            height, width = level.shape[-2:]
            own = torch.nonzero((anchor >= first) & (anchor < first + height * width * self.anchors)).squeeze(1)
            pixel, which = (anchor[own] - first) // self.anchors, (anchor[own] - first) % self.anchors
            logits, offsets = self._at_pixels(level, image[own], pixel // width, pixel % width)
            chosen = torch.arange(len(own), device=own.device), which
            found.append((own, logits[chosen], offsets[chosen]))
            first += height * width * self.anchors
        rows, logits, offsets = (torch.cat(parts) for parts in zip(*found, strict=True))
        order = rows.argsort()
        return logits[order], offsets[order]

    def _at_pixels(self, level: Tensor, image: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (K, anchors) and offsets (K, anchors, box_dim) of single pixels, from what lies around each."""
        convs = [conv for conv in self.conv.modules() if isinstance(conv, Conv2d)]
        reach = torch.arange(-self.reach, self.reach + 1, device=level.device)
        rows, columns = (row[:, None] + reach)[:, :, None], (column[:, None] + reach)[:, None]
        height, width = level.shape[-2:]
        inside = ((rows >= 0) & (rows < height) & (columns >= 0) & (columns < width))[:, None]
        around = level[image[:, None, None], :, rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
        x = around.permute(0, 3, 1, 2)
        for conv in convs:
            # Each convolution sees zeros beyond the border of the level.
            x = conv.finish(F.conv2d(x * inside, conv.weight, conv.bias))
            inside = inside[..., 1:-1, 1:-1]
        return self.objectness_logits(x).flatten(1), self.anchor_deltas(x).reshape(-1, self.anchors, self.box_dim)


class RPN(nn.Module):
    """Proposes regions that may hold an object of any class; rotated ones, if its anchors are.

    Args:
        channels: level -> channels, from the backbone.
        strides: level -> stride, from the backbone.
        in_features: the levels that are searched; None for all.
        anchor_generator: built with `strides` of those levels.
        head: built with `in_channels`, `anchors` and `box_dim`.
        iou_thresholds: overlaps that part anchors into the ranges of `iou_labels`.
        iou_labels: 0 background, -1 left out, 1 foreground; an object's best anchor is always foreground.
        batch_size_per_image: anchors that a loss looks at, drawn at random.
        positive_fraction: how many of them may be foreground.
        boundary_threshold: anchors that reach further out of the image, in pixels, are left out; negative for no limit.
        box_weights: of the offsets (dx, dy, dw, dh), or (dx, dy, dw, dh, da) of rotated boxes.
        box_loss: how boxes are compared.
        smooth_l1_beta: where that loss turns linear.
        loss_weight: of both losses.
        box_loss_weight: of the box loss, on top.
        pre_nms_topk_train: proposals of one level and image that enter suppression, in training.
        pre_nms_topk_test: the same at inference.
        post_nms_topk_train: proposals of one image that leave it, in training.
        post_nms_topk_test: the same at inference.
        nms_threshold: overlap beyond which the worse of two proposals of one level is dropped.
        min_size: proposals must have sides longer than this, in pixels.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        *,
        in_features: Sequence[str] | None = None,
        anchor_generator: Factory[AnchorGenerator] = Factory(AnchorGenerator),
        head: Factory[RPNHead] = Factory(RPNHead),
        iou_thresholds: Sequence[float] = (0.3, 0.7),
        iou_labels: Sequence[int] = (0, -1, 1),
        batch_size_per_image: int = 256,
        positive_fraction: float = 0.5,
        boundary_threshold: float = -1.0,
        box_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        box_loss: BoxLoss = "smooth_l1",
        smooth_l1_beta: float = 0.0,
        loss_weight: float = 1.0,
        box_loss_weight: float = 1.0,
        pre_nms_topk_train: int = 2000,
        pre_nms_topk_test: int = 1000,
        post_nms_topk_train: int = 1000,
        post_nms_topk_test: int = 1000,
        nms_threshold: float = 0.7,
        min_size: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_features = tuple(channels if in_features is None else in_features)
        if missing := [name for name in self.in_features if name not in channels]:
            found = f"got {missing}; there are {', '.join(channels)}"
            raise ConfigError("RPN.in_features", "must name levels of the backbone", found)
        self.anchor_generator = Factory.of(anchor_generator)(strides={name: strides[name] for name in self.in_features})
        widths = {channels[name] for name in self.in_features}
        per_pixel = set(self.anchor_generator.per_pixel)
        if len(widths) != 1 or len(per_pixel) != 1:
            found = f"got {sorted(widths)} channels and {sorted(per_pixel)} anchors"
            raise ConfigError("RPN", "needs as many channels and as many anchors at every level", found)
        self.form = regressed("RPN", box_weights, box_loss)
        if self.form.dim != self.anchor_generator.box_dim:
            found = f"got {len(box_weights)} for anchors of {self.anchor_generator.box_dim}"
            raise ConfigError("RPN.box_weights", "must be one for each number of a box", found)
        self.rpn_head = Factory.of(head)(in_channels=widths.pop(), anchors=per_pixel.pop(), box_dim=self.form.dim)
        self.matcher = Matcher(iou_thresholds, iou_labels, keep_best=True)
        self.batch_size_per_image, self.positive_fraction = batch_size_per_image, positive_fraction
        self.boundary_threshold, self.box_weights = boundary_threshold, tuple(box_weights)
        self.box_loss, self.smooth_l1_beta = box_loss, smooth_l1_beta
        self.loss_weight, self.box_loss_weight = loss_weight, box_loss_weight
        self.pre_nms_topk = {True: pre_nms_topk_train, False: pre_nms_topk_test}
        self.post_nms_topk = {True: post_nms_topk_train, False: post_nms_topk_test}
        self.nms_threshold, self.min_size = nms_threshold, min_size

    def forward(
        self, features: Mapping[str, Tensor], sizes: Sequence[Size], targets: Sequence[Targets] | None = None
    ) -> tuple[list[Proposals], dict[str, Tensor]]:
        """Proposals of each image by falling objectness, and the losses ({} without `targets`).

        Proposals carry no gradient: the second stage treats them as given.
        """
        levels = [features[name] for name in self.in_features]
        anchors = self.anchor_generator(levels)
        if targets is None:
            return self.propose(anchors, self.rpn_head(levels), sizes, training=False), {}
        # The losses look at a thousandth of the anchors. Where the head can be asked for those alone, the gradient has
        # no use for the rest, which would be a tenth of the work of a training step.
        sparse = type(self.rpn_head) is RPNHead and self.rpn_head.gains(levels, self.batch_size_per_image)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not sparse):
            outputs = self.rpn_head(levels)
        losses = self.losses(anchors, outputs, sizes, targets, levels if sparse else None)
        return self.propose(anchors, outputs, sizes, training=True), losses

    def losses(
        self,
        anchors: Sequence[Tensor],
        outputs: RPNOutputs,
        sizes: Sequence[Size],
        targets: Sequence[Targets],
        features: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """{"loss_rpn_cls", "loss_rpn_loc"}: sums over the sampled anchors, divided by images x batch_size_per_image.

        They are made of `outputs`, or, given the `features`, of what the head says of the sampled anchors alone.
        """
        all_anchors = torch.cat(list(anchors))
        matched = [self._match(all_anchors, size, truth) for size, truth in zip(sizes, targets, strict=True)]
        labels = torch.stack([labels for labels, _ in matched])
        chosen = sample(labels, self.batch_size_per_image, self.positive_fraction)
        image, anchor = torch.nonzero(chosen, as_tuple=True)
        if features is None:
            logits, offsets = (torch.cat(each, dim=1)[image, anchor] for each in outputs)
        else:
            logits, offsets = self.rpn_head.at(features, image, anchor)
        kinds = labels[image, anchor]
        classification = F.binary_cross_entropy_with_logits(logits.float(), kinds.float(), reduction="sum")
        boxes = torch.stack([boxes for _, boxes in matched])[image, anchor]
        offsets, references, boxes = (each[kinds == 1] for each in (offsets, all_anchors[anchor], boxes))
        regression = box_loss(offsets, references, boxes, self.box_weights, self.box_loss, self.smooth_l1_beta)
        scale = self.loss_weight / (self.batch_size_per_image * len(sizes))
        return {"loss_rpn_cls": classification * scale, "loss_rpn_loc": regression * scale * self.box_loss_weight}

    @torch.no_grad()
    def _match(self, anchors: Tensor, size: Size, truth: Targets) -> tuple[Tensor, Tensor]:
        """The label of each anchor, int8 (A,), and the true box of the foreground ones (A, box_dim)."""
        self.form.require(truth.boxes, "Targets.boxes")
        match = self.matcher(self.form.iou(truth.boxes, anchors))
        labels = without_crowd(match, truth)
        if self.boundary_threshold >= 0:
            labels = labels.masked_fill(~self.form.within(anchors, size, self.boundary_threshold), -1)
        boxes = truth.boxes[match.partner] if len(truth) else anchors
        return labels, boxes

    @torch.no_grad()
    def propose(
        self, anchors: Sequence[Tensor], outputs: RPNOutputs, sizes: Sequence[Size], *, training: bool
    ) -> list[Proposals]:
        """The best boxes of each level, moved by their offsets, clipped, suppressed; best first over all levels."""
        boxes, scores, groups = [], [], []
        for i, (grid, logits, offsets) in enumerate(zip(anchors, *outputs, strict=True)):
            top, index = logits.float().topk(min(self.pre_nms_topk[training], logits.shape[1]), dim=1)
            chosen = offsets.gather(1, index[..., None].expand(-1, -1, self.form.dim))
            boxes.append(self.form.decode(chosen, grid[index], self.box_weights))
            scores.append(top)
            groups.append(torch.full_like(index[0], i))
        level = torch.cat(groups)
        return [
            self._suppress(b, s, level, size, self.post_nms_topk[training])
            for b, s, size in zip(torch.cat(boxes, dim=1), torch.cat(scores, dim=1), sizes, strict=True)
        ]

    def _suppress(self, boxes: Tensor, scores: Tensor, level: Tensor, size: Size, most: int) -> Proposals:
        finite = box_ops.finite(boxes, scores)
        boxes = self.form.clip(boxes, size)
        rows = torch.nonzero(finite & self.form.larger_than(boxes, self.min_size)).squeeze(1)
        boxes, scores, level = boxes[rows], scores[rows], level[rows]
        keep = self.form.nms_by_group(boxes, scores, level, self.nms_threshold)[:most]
        return Proposals(boxes=boxes[keep], logits=scores[keep])
