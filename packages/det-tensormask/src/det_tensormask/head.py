"""TensorMask (Chen et al., "TensorMask: a foundation for dense object segmentation", 2019)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from det_core.contracts import Exported
from det_core.errors import ConfigError, StructureError
from det_core.models import AnchorGenerator
from det_core.models.heads.dense import Tower, best_candidates, per_anchor, predictor
from det_core.models.parts.levels import select_levels
from det_core.models.parts.nms import DenseNMS
from det_core.ops import boxes as box_ops
from det_core.ops import coding
from det_core.ops.global_batch import normalizer
from det_core.ops.layers import draw_weights
from det_core.ops.losses import box_loss
from det_core.ops.masks import crop_masks
from det_core.ops.nms import nms_by_group
from det_core.structures import Detections, MaskGrids, Polygons, Size, Targets
from torch import Tensor, nn
from torch.nn import functional as F

from det_tensormask.align import swap_align2nat
from det_tensormask.assignment import assign
from det_tensormask.exporting import GRIDS, SIDES, WINDOWS
from det_tensormask.losses import FocalLossStar, MaskLoss

__all__ = ["MaskWindows", "Subnets", "TensorMaskHead", "TensorMaskOutputs"]


class TensorMaskOutputs(NamedTuple):
    """Predictions for every window, by level; windows by row, then column, then size.

    `logits` (B, H * W * A, C) and `offsets` (B, H * W * A, 4) of each window in `anchors` (H * W * A, 4); `masks`,
    (B, V * V, H', W') before the sigmoid for each of the A sizes: aligned with the pixels of the finest level for a
    bipyramid, otherwise with those of their level; natural where the head predicts natural masks.
    """

    logits: list[Tensor]
    offsets: list[Tensor]
    anchors: list[Tensor]
    masks: list[list[Tensor]]


@dataclass(frozen=True)
class MaskWindows:
    """The windows of TensorMask.

    Attributes:
        windows: side lengths of the windows, in strides of their level; also the mask sizes at the finest level.
        aligned: whether masks are predicted per pixel and turned into windows by `swap_align2nat`.
        bipyramid: whether coarser levels have finer masks, so that all mask parts are as long as the finest stride.
            Needs `aligned`.
    """

    windows: Sequence[int] = (11, 15)
    aligned: bool = True
    bipyramid: bool = True


@dataclass(frozen=True)
class Subnets:
    """The convolutions before the TensorMask predictions.

    Attributes:
        num_convs: number of 3 x 3 convolutions before each kind of prediction.
        class_channels: channels of the classification subnet.
        box_channels: channels of the box regression subnet.
        mask_channels: channels of the mask subnet.
    """

    num_convs: int = 4
    class_channels: int = 256
    box_channels: int = 128
    mask_channels: int = 128


class TensorMaskHead(nn.Module):
    """Classifies square windows around every feature pixel, regresses their boxes, and predicts their masks.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level, twice that of the level before.
        num_classes: number of foreground classes, without background.
        in_features: feature levels of the head; None for all.
        masks: window sizes and mask representation.
        subnets: convolutions before each kind of prediction.
        prior_probability: initial probability of every class at every window, in (0, 1).
        focal_loss: focal loss of the classification.
        mask_loss: loss of the mask parts.
        box_weights: weights of the box offsets (dx, dy, dw, dh).
        nms: score threshold, pre-NMS top-k and NMS; `topk_candidates` is per image.
    """

    contract = "DenseHead"

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        in_features: Sequence[str] | None = None,
        masks: MaskWindows = MaskWindows(),
        subnets: Subnets = Subnets(),
        prior_probability: float = 0.01,
        focal_loss: FocalLossStar = FocalLossStar(),  # noqa: B008 (frozen)
        mask_loss: MaskLoss = MaskLoss(),  # noqa: B008 (frozen)
        box_weights: tuple[float, float, float, float] = (1.5, 1.5, 0.75, 0.75),
        nms: DenseNMS = DenseNMS(topk_candidates=6000),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        self.num_classes, self.in_features = num_classes, select_levels("TensorMaskHead", channels, in_features)
        self.strides = tuple(strides[name] for name in self.in_features)
        self.windows, self.aligned, self.bipyramid = tuple(masks.windows), masks.aligned, masks.bipyramid
        self._check()
        self.anchor_generator = AnchorGenerator(
            {name: strides[name] for name in self.in_features}, scales=self.windows, aspect_ratios=[[1.0]]
        )
        self.cls_subnet, self.bbox_subnet, self.mask_subnet = (
            Tower(channels[self.in_features[0]], [width] * subnets.num_convs, "", "shared", len(self.strides))
            for width in (subnets.class_channels, subnets.box_channels, subnets.mask_channels)
        )
        self.cls_score = predictor(self.cls_subnet.out_channels, len(self.windows) * num_classes, prior_probability)
        self.bbox_pred = predictor(self.bbox_subnet.out_channels, len(self.windows) * 4)
        width = self.mask_subnet.out_channels
        for side in self.windows:
            conv = nn.Conv2d(width, side * side, 1)
            draw_weights(conv, 0.01)
            self.add_module(f"mask_pred_{side:02}", conv)
        self.mask_fuse = Tower(width, [width], "", "shared", len(self.strides)) if self.bipyramid else None
        self.focal_loss, self.mask_loss, self.box_weights, self.nms = focal_loss, mask_loss, box_weights, nms

    def _check(self) -> None:
        if not self.windows or len(set(self.windows)) != len(self.windows) or min(self.windows) < 1:
            problem = "must name at least one side length, and none twice"
            raise ConfigError("TensorMaskHead.masks.windows", problem, f"got {list(self.windows)}")
        if self.bipyramid and not self.aligned:
            raise ConfigError("TensorMaskHead.masks.bipyramid", "needs aligned masks", fix="set aligned to true")
        if any(b != 2 * a for a, b in zip(self.strides, self.strides[1:], strict=False)):
            found = f"got {list(self.strides)}"
            raise ConfigError("TensorMaskHead.strides", "must double from level to level", found)

    def forward(self, features: Mapping[str, Tensor]) -> TensorMaskOutputs:
        """Levels (B, C, H, W) to logits, box offsets and masks of every window."""
        levels = [features[name] for name in self.in_features]
        logits = [per_anchor(self.cls_score(x), self.num_classes) for x in self.cls_subnet(levels)]
        offsets = [per_anchor(self.bbox_pred(x), 4) for x in self.bbox_subnet(levels)]
        maps = self.mask_subnet(levels)
        if self.mask_fuse is not None:
            maps = self.mask_fuse([self._finer(x, maps[0], 2**i) for i, x in enumerate(maps)])
        masks = [[self.get_submodule(f"mask_pred_{side:02}")(x) for side in self.windows] for x in maps]
        return TensorMaskOutputs(logits, offsets, self.anchor_generator(levels), masks)

    @staticmethod
    def _finer(coarse: Tensor, finest: Tensor, factor: int) -> Tensor:
        """A level upsampled to the finest one and added to it; the finest level is added to itself, as published."""
        if factor > 1:
            coarse = F.interpolate(coarse, scale_factor=factor, mode="bilinear", align_corners=False)
        if torch.compiler.is_exporting():  # a slice of the full length would become a shape constraint
            rows, columns = (torch.arange(side, device=coarse.device) for side in finest.shape[2:])
            return coarse.index_select(2, rows).index_select(3, columns) + finest
        return coarse[:, :, : finest.shape[2], : finest.shape[3]] + finest

    def losses(
        self, outputs: TensorMaskOutputs, sizes: Sequence[Size], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """{"loss_cls", "loss_box_reg", "loss_mask"}: sums over the batch, divided by the number of foreground windows.

        The mask loss of a window is the mean over its parts.
        """
        anchors = torch.cat(outputs.anchors)
        logits, offsets = torch.cat(outputs.logits, dim=1), torch.cat(outputs.offsets, dim=1)
        matched = self._assign(outputs.anchors, targets)
        image, anchor = torch.nonzero(matched >= 0, as_tuple=True)
        objects = [target[idxs[idxs >= 0]] for target, idxs in zip(targets, matched, strict=True)]
        one_hot = torch.zeros_like(logits)
        one_hot[image, anchor, torch.cat([each.labels for each in objects])] = 1
        classification = self.focal_loss(logits, one_hot)
        boxes = torch.cat([each.boxes for each in objects])
        regression = box_loss(offsets[image, anchor], anchors[anchor], boxes, self.box_weights, "smooth_l1", beta=0.0)
        # An empty slice of every mask map keeps all mask layers in the graph, so that they always have a gradient.
        masks = torch.stack([maps.flatten()[:0].float().sum() for level in outputs.masks for maps in level]).sum()
        for rows, predicted in self._predicted_masks(outputs, image, anchor):
            masks = masks + self._mask_loss(predicted, anchors[anchor[rows]], rows, image, objects)
        count = normalizer(len(image), logits)
        return {"loss_cls": classification / count, "loss_box_reg": regression / count, "loss_mask": masks / count}

    @torch.no_grad()
    def _assign(self, anchors: Sequence[Tensor], targets: Sequence[Targets]) -> Tensor:
        """Matched object index of each window of each image (B, A), -1 for none."""
        units = torch.cat([a.new_full((len(a),), stride) for a, stride in zip(anchors, self.strides, strict=True)])
        smallest = (min(self.windows) - 1) * self.strides[0]
        return torch.stack([assign(target.boxes, torch.cat(list(anchors)), units, smallest) for target in targets])

    def _mask_loss(
        self, predicted: Tensor, windows: Tensor, rows: Tensor, image: Tensor, objects: Sequence[Targets]
    ) -> Tensor:
        """Mask loss of predictions (M, S, S) for the `rows` of all foreground windows, image by image."""
        side, first, expected = predicted.shape[1], 0, []
        for index, instances in enumerate(objects):
            matched = rows[image[rows] == index] - first
            if len(matched):
                expected.append(crop_masks(_masks(instances)[matched], windows[image[rows] == index], side))
            first += len(instances)
        return self.mask_loss(predicted, torch.cat(expected).float()) / side**2

    def _predicted_masks(
        self, outputs: TensorMaskOutputs, image: Tensor, anchor: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The masks of windows given by image index and anchor index, both (M,).

        Yields one level and window size at a time: row indices (m,) and mask logits (m, S, S). Natural masks are
        computed when needed and not kept.
        """
        start = 0
        for level, (maps, anchors) in enumerate(zip(outputs.masks, outputs.anchors, strict=True)):
            within = (anchor >= start) & (anchor < start + len(anchors))
            for size, maps_of_size in enumerate(maps):
                rows = torch.nonzero(within & ((anchor - start) % len(maps) == size)).squeeze(1)
                if len(rows):
                    natural = maps_of_size
                    if self.aligned:
                        natural = swap_align2nat(maps_of_size, 2**level if self.bipyramid else 1)
                    place = (anchor[rows] - start) // len(maps)
                    y, x = place // natural.shape[3], place % natural.shape[3]
                    side = round(natural.shape[1] ** 0.5)
                    yield rows, natural[image[rows], :, y, x].unflatten(1, (side, side)).float()
            start += len(anchors)

    @torch.no_grad()
    def decode(self, outputs: TensorMaskOutputs, sizes: Sequence[Size]) -> list[Detections]:
        """Detections of each image with masks, best first; a window may be detected as several classes."""
        anchors, offsets = torch.cat(outputs.anchors), torch.cat(outputs.offsets, dim=1)
        scores = torch.cat(outputs.logits, dim=1).float().sigmoid()
        best = best_candidates(scores, self.nms.score_threshold, self.nms.topk_candidates)
        boxes = coding.decode(
            offsets.gather(1, best.anchor[..., None].expand(-1, -1, 4)), anchors[best.anchor], self.box_weights
        )
        keep = [
            self._suppress(*candidates, size)
            for candidates, size in zip(zip(boxes, *best, strict=True), sizes, strict=True)
        ]
        selected = [anchor[rows] for anchor, rows in zip(best.anchor, keep, strict=True)]
        if torch.compiler.is_exporting():
            extras = [self._tables(outputs, image, anchor) for image, anchor in enumerate(selected)]
            return [
                Detections(
                    boxes=box_ops.clip(boxes[i, rows], size),
                    labels=best.label[i, rows],
                    scores=best.score[i, rows],
                    size=size,
                    extras=extras[i],
                )
                for i, (rows, size) in enumerate(zip(keep, sizes, strict=True))
            ]
        grids = iter(self._grids(outputs, selected))
        detections = []
        for i, (rows, size) in enumerate(zip(keep, sizes, strict=True)):
            masks = MaskGrids(grids=tuple(islice(grids, len(rows))), windows=anchors[selected[i]])
            clipped = box_ops.clip(boxes[i, rows], size)
            labels, scored = best.label[i, rows], best.score[i, rows]
            detections.append(Detections(boxes=clipped, labels=labels, scores=scored, size=size, masks=masks))
        return detections

    def _grids(self, outputs: TensorMaskOutputs, selected: Sequence[Tensor]) -> list[Tensor]:
        """Masks (S, S) of windows, image by image; `selected` holds their anchor indices."""
        image = torch.cat([torch.full_like(anchor, i) for i, anchor in enumerate(selected)])
        grids = [torch.empty(0)] * len(image)
        for rows, logits in self._predicted_masks(outputs, image, torch.cat(list(selected))):
            for row, grid in zip(rows.tolist(), logits.sigmoid(), strict=True):
                grids[row] = grid
        return grids

    def exported(self) -> Exported:
        """As `det_core.contracts.Exportable`: grids of several sizes are cut out of a table by the postprocessing."""
        return Exported(finish={"type": "det_tensormask.exporting:CutGrids"})

    def _tables(self, outputs: TensorMaskOutputs, image: int, anchor: Tensor) -> dict[str, Tensor]:
        """The tables of `CutGrids`: the mask of each window, by anchor index (N,), on one large grid.

        Free of value-dependent branches: each level and window size computes the masks of the windows it contains.
        """
        start, rows, sides, tables = 0, [], [], []
        largest = max(self.windows) * (2 ** (len(self.strides) - 1) if self.bipyramid else 1)
        for level, (maps, anchors) in enumerate(zip(outputs.masks, outputs.anchors, strict=True)):
            within = (anchor >= start) & (anchor < start + anchors.shape[0])
            for size, predicted in enumerate(maps):
                inside = torch.nonzero(within & ((anchor - start) % len(maps) == size)).squeeze(1)
                factor = 2**level if self.bipyramid else 1
                natural = swap_align2nat(predicted[image][None], factor) if self.aligned else predicted[image][None]
                place = (anchor[inside] - start) // len(maps)
                side = self.windows[size] * factor
                logits = natural[0].flatten(1).index_select(1, place).T.unflatten(1, (side, side))
                tables.append(F.pad(logits.float().sigmoid(), (0, largest - side, 0, largest - side)))
                sides.append(torch.full_like(inside, side))
                rows.append(inside)
            start += anchors.shape[0]
        order = torch.cat(rows).argsort()
        windows = torch.cat(outputs.anchors)[anchor]
        return {GRIDS: torch.cat(tables)[order], SIDES: torch.cat(sides)[order], WINDOWS: windows}

    def _suppress(self, boxes: Tensor, anchor: Tensor, labels: Tensor, scores: Tensor, size: Size) -> Tensor:
        """Indices of the candidates of an image that NMS keeps, best first."""
        usable = torch.nonzero(box_ops.finite(boxes, scores) & (scores >= 0)).squeeze(1)
        keep = nms_by_group(boxes[usable], scores[usable], labels[usable], self.nms.iou_threshold)[
            : self.nms.max_detections
        ]
        rows = usable[keep]
        return rows[box_ops.larger_than(box_ops.clip(boxes[rows], size), 0)]


def _masks(objects: Targets) -> Tensor | Polygons:
    if objects.masks is None:
        fix = "load the dataset with masks: set masks to 'polygons' or 'bitmaps'"
        raise StructureError("Targets.masks", "are needed to train masks", "there are none", fix)
    return objects.masks
