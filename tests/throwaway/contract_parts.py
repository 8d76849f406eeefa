"""One implementation of each contract of heads and models, made for a test: no base class of det's, no registration."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from det_core.models import NMS
from det_core.structures import Detections, ImageBatch, Prediction, Proposals, Size, Targets
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms, clip_boxes_to_image, roi_align


class TinyBackbone(nn.Module):
    """Two levels, whose maps are smaller than ceil(H / stride)."""

    exact_sizes = False

    def __init__(self) -> None:
        super().__init__()
        self.channels = {"a": 8, "b": 8}
        self.strides = {"a": 8, "b": 16}
        self.size_divisibility = 1
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        x = self.conv(pixels).relu()
        return {level: _shrunk(x, stride) for level, stride in self.strides.items()}


def _shrunk(x: Tensor, stride: int) -> Tensor:
    return F.adaptive_avg_pool2d(x, [max(side // stride, 1) for side in x.shape[-2:]])


class Pixels(nn.Module):
    contract = "Preprocess"

    def __init__(self, divisibility: int) -> None:
        super().__init__()
        self.divisibility = divisibility

    def forward(self, batch: ImageBatch) -> Tensor:
        height, width = batch.pixels.shape[-2:]
        pixels = F.pad(batch.pixels / 127.5 - 1, (0, -width % self.divisibility, 0, -height % self.divisibility))
        for image, (h, w) in zip(pixels, batch.sizes, strict=True):
            image[:, h:], image[:, :, w:] = 0, 0
        return pixels


class Squares(nn.Module):
    contract = "AnchorGenerator"

    def __init__(self, strides: Mapping[str, int]) -> None:
        super().__init__()
        self.strides, self.per_pixel, self.box_dim = tuple(strides.values()), [1] * len(strides), 4

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        found = []
        for x, stride in zip(features, self.strides, strict=True):
            rows, columns = (torch.arange(side, device=x.device) * float(stride) for side in x.shape[-2:])
            corner = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).reshape(-1, 2)
            found.append(torch.cat((corner - stride, corner + stride), dim=1))
        return found


class Objectness(nn.Module):
    contract = "RPNHead"

    def __init__(self, in_channels: int, anchors: int, box_dim: int) -> None:
        super().__init__()
        self.box_dim, self.logits = box_dim, nn.Conv2d(in_channels, anchors, 1)
        self.offsets = nn.Conv2d(in_channels, anchors * box_dim, 1)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        logits = [self.logits(x).permute(0, 2, 3, 1).flatten(1) for x in features]
        offsets = [self.offsets(x).permute(0, 2, 3, 1).reshape(len(x), -1, self.box_dim) for x in features]
        return logits, offsets


class Pool(nn.Module):
    contract = "Pooler"

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__()
        self.scale, self.resolution, self.box_dim = 1 / strides[0], 3, 4

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        return roi_align(features[0].float(), list(boxes), 3, self.scale, sampling_ratio=2)


class Flat(nn.Module):
    contract = "BoxHead"

    def __init__(self, in_channels: int, resolution: int) -> None:
        super().__init__()
        self.out_dim, self.fc = 6, nn.Linear(in_channels * resolution**2, 6)

    def forward(self, pooled: Tensor) -> Tensor:
        return self.fc(pooled.flatten(1))


class Classes(nn.Module):
    """Classifies regions, and leaves their boxes as they are but for one offset of all classes."""

    contract = "BoxPredictor"
    box_dim = 4

    def __init__(self, in_dim: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes, self.fc = num_classes, nn.Linear(in_dim, num_classes + 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)

    def losses(self, outputs: Tensor, proposals: Tensor, labels: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        count = max(len(labels), 1)
        wrong = F.cross_entropy(outputs[:, :-4].float(), labels, reduction="sum") / count
        foreground = (labels < self.num_classes)[:, None]
        off = (self.decode(outputs, proposals)[:, 0] - boxes).abs() * foreground
        return {"loss_kind": wrong, "loss_place": off.sum() / count / 100}

    def detect(self, outputs: Tensor, proposals: Sequence[Tensor], sizes: Sequence[Size]) -> list[Detections]:
        counts = [len(each) for each in proposals]
        boxes = self.decode(outputs, torch.cat(list(proposals)))
        return self.select(boxes, self.scores(outputs), counts, sizes)

    def scores(self, outputs: Tensor) -> Tensor:
        return outputs[:, :-4].float().softmax(dim=1)

    def decode(self, outputs: Tensor, proposals: Tensor) -> Tensor:
        return (proposals + outputs[:, -4:].float())[:, None]

    def select(self, boxes: Tensor, scores: Tensor, counts: Sequence[int], sizes: Sequence[Size]) -> list[Detections]:
        found = []
        for own, score, size in zip(boxes.split(list(counts)), scores.split(list(counts)), sizes, strict=True):
            best, label = score[:, :-1].max(dim=1)
            box = clip_boxes_to_image(own[:, 0], size)
            usable = box.isfinite().all(1) & best.isfinite() & (box[:, 2:] > box[:, :2]).all(1)
            box, best, label = box[usable], best[usable], label[usable]
            keep = batched_nms(box, best, label, 0.5)[:20]
            found.append(Detections(boxes=box[keep], labels=label[keep], scores=best[keep], size=size))
        return found


class Stages(Classes):
    contract = "CascadeBoxPredictor"


class Refining(Classes):
    def predict_boxes_for_labels(self, outputs: Tensor, proposals: Tensor, labels: Tensor) -> Tensor:
        return self.decode(outputs, proposals)[:, 0]


class Marks(nn.Module):
    """Fills an extra with a number of each region."""

    contract = "PooledRegionHead"

    def __init__(self, channels: Mapping[str, int], strides: Mapping[str, int]) -> None:
        super().__init__()
        self.level, self.scale = next(iter(channels)), 1 / next(iter(strides.values()))
        self.fc = nn.Linear(next(iter(channels.values())), 1)

    def losses(
        self, features: Mapping[str, Tensor], proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        return self.pooled_losses(self._pool(features, proposals), proposals, targets)

    def predict(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        return self.pooled_predict(self._pool(features, [each.boxes for each in detections]), detections)

    def pooled_losses(
        self, pooled: Tensor, proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        marks = self.fc(pooled.mean(dim=(2, 3)))
        return {"loss_mark": (marks - 1).float().square().sum() / max(len(marks), 1)}

    def pooled_predict(self, pooled: Tensor, detections: Sequence[Detections]) -> list[Detections]:
        marks = self.fc(pooled.mean(dim=(2, 3))).split([len(each) for each in detections])
        return [
            replace(found, extras={**found.extras, "det-throwaway/mark": own})
            for found, own in zip(detections, marks, strict=True)
        ]

    def _pool(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        return roi_align(features[self.level].float(), list(boxes), 2, self.scale, sampling_ratio=2)


class SquaredMasks:
    """A `MaskLoss`: the mean square of the probabilities."""

    def __call__(self, logits: Tensor, proposals: Sequence[Tensor], targets: Sequence[Targets]) -> Tensor:
        return logits.sigmoid().square().mean() if logits.numel() else logits.sum()


class Proposer(nn.Module):
    """Proposes the whole image, with a learnt score."""

    contract = "ProposalGenerator"

    def __init__(self, channels: Mapping[str, int], strides: Mapping[str, int]) -> None:
        super().__init__()
        self.level = next(iter(channels))
        self.fc = nn.Linear(channels[self.level], 1)

    def forward(
        self, features: Mapping[str, Tensor], sizes: Sequence[Size], targets: Sequence[Targets] | None = None
    ) -> tuple[list[Proposals], dict[str, Tensor]]:
        logits = self.fc(features[self.level].mean(dim=(2, 3)))
        whole = [logits.new_tensor([[0.0, 0.0, width, height]]) for height, width in sizes]
        found = [Proposals(boxes=b, logits=x.detach().float()) for b, x in zip(whole, logits, strict=True)]
        return found, {} if targets is None else {"loss_whole": (logits - 1).float().square().mean()}


class Second(nn.Module):
    """A second stage that scores each proposal by the mean of a level."""

    contract = "ROIHeads"

    def __init__(self, channels: Mapping[str, int], strides: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        self.level = next(iter(channels))
        self.fc = nn.Linear(channels[self.level], num_classes)

    def losses(
        self,
        features: Mapping[str, Tensor],
        proposals: Sequence[Proposals],
        targets: Sequence[Targets],
        sizes: Sequence[Size],
    ) -> dict[str, Tensor]:
        logits = self._logits(features)
        wanted = torch.stack([(F.one_hot(t.labels, logits.shape[1]).sum(0) > 0).float() for t in targets])
        return {"loss_there": F.binary_cross_entropy_with_logits(logits.float(), wanted)}

    def predict(
        self, features: Mapping[str, Tensor], proposals: Sequence[Proposals], sizes: Sequence[Size]
    ) -> list[Detections]:
        found = []
        for logits, given, size in zip(self._logits(features), proposals, sizes, strict=True):
            score, label = logits.float().sigmoid().max(dim=0)
            boxes = clip_boxes_to_image(given.boxes[:1], size)
            boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]
            count = len(boxes)
            found.append(Detections(boxes=boxes, labels=label.repeat(count), scores=score.repeat(count), size=size))
        return self.predict_given_boxes(features, found)

    def predict_given_boxes(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        return list(detections)

    def _logits(self, features: Mapping[str, Tensor]) -> Tensor:
        return self.fc(features[self.level].mean(dim=(2, 3)))


class CellOutputs(NamedTuple):
    logits: Tensor


class Cells(nn.Module):
    """Detects one box around each pixel of the coarsest level."""

    contract = "DenseHead"

    def __init__(self, channels: Mapping[str, int], strides: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        self.level = list(channels)[-1]
        self.stride, self.conv = strides[self.level], nn.Conv2d(channels[self.level], num_classes, 1)
        self.nms = NMS(score_threshold=0.1, max_detections=10)

    def forward(self, features: Mapping[str, Tensor]) -> CellOutputs:
        return CellOutputs(self.conv(features[self.level]))

    def losses(self, outputs: CellOutputs, sizes: Sequence[Size], targets: Sequence[Targets]) -> dict[str, Tensor]:
        return {"loss_cells": outputs.logits.float().sigmoid().square().mean()}

    def decode(self, outputs: CellOutputs, sizes: Sequence[Size]) -> list[Detections]:
        found = []
        for logits, size in zip(outputs.logits, sizes, strict=True):
            logits = logits[:, : -(-size[0] // self.stride), : -(-size[1] // self.stride)].float()
            score, label = logits.sigmoid().nan_to_num(0).max(dim=0)
            y, x = torch.nonzero(score > self.nms.score_threshold, as_tuple=True)
            corner = torch.stack((x, y), dim=1).float() * self.stride
            boxes = clip_boxes_to_image(torch.cat((corner, corner + self.stride), dim=1), size)
            score, label = score[y, x], label[y, x]
            keep = (boxes[:, 2:] > boxes[:, :2]).all(1).nonzero().squeeze(1)
            keep = keep[score[keep].argsort(descending=True, stable=True)][: self.nms.max_detections]
            found.append(Detections(boxes=boxes[keep], labels=label[keep], scores=score[keep], size=size))
        return found


class PixelClasses(nn.Module):
    contract = "SemanticHead"

    def __init__(self, channels: Mapping[str, int], strides: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        self.level = next(iter(channels))
        self.stride, self.conv = strides[self.level], nn.Conv2d(channels[self.level], num_classes, 1)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        return F.interpolate(self.conv(features[self.level]).float(), scale_factor=self.stride)

    def losses(self, features: Mapping[str, Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        logits = self(features)
        losses = []
        for image, own in zip(logits, targets, strict=True):
            height, width = (min(a, b) for a, b in zip(image.shape[-2:], own.shape, strict=True))
            losses.append(
                F.cross_entropy(image[None, :, :height, :width], own[None, :height, :width], ignore_index=255)
            )
        return {"loss_pixels": torch.stack(losses).nan_to_num().mean()}


class Whole(nn.Module):
    """A model: one box of the whole image; also what augmentation and compilation ask for."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.num_classes, self.nms = num_classes, NMS()
        self.backbone = TinyBackbone()
        self.fc = nn.Linear(8, num_classes)

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        masked = torch.zeros_like(batch.pixels, dtype=torch.float32)
        for row, image, (h, w) in zip(masked, batch.pixels, batch.sizes, strict=True):
            row[:, :h, :w] = image[:, :h, :w] / 255
        logits = self.fc(
            torch.stack(
                [
                    self.backbone(x[None, :, :h, :w])["a"].mean(dim=(0, 2, 3))
                    for x, (h, w) in zip(masked, batch.sizes, strict=True)
                ]
            )
        )
        if targets is not None:
            wanted = torch.stack([(F.one_hot(t.labels, self.num_classes).sum(0) > 0).float() for t in targets])
            return {"loss_there": F.binary_cross_entropy_with_logits(logits.float(), wanted)}
        found = []
        for own, (height, width) in zip(logits, batch.sizes, strict=True):
            score, label = own.float().sigmoid().max(dim=0, keepdim=True)
            box = own.new_tensor([[0.0, 0.0, width, height]]).float()
            found.append(Prediction(detections=Detections(boxes=box, labels=label, scores=score, size=(height, width))))
        return found

    def predict_given_boxes(self, batch: ImageBatch, detections: Sequence[Detections]) -> list[Detections]:
        masks = [torch.ones(len(found), 4, 4) for found in detections]
        return [replace(found, masks=own) for found, own in zip(detections, masks, strict=True)]

    def networks(self) -> list[Any]:
        return [self.backbone]

    def with_segments(self, prediction: Prediction) -> Prediction:
        return prediction
