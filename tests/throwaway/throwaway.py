"""A plugin made for one test: a dataset, a head, an evaluator and an extra with geometry, none of which core knows.

The extra is one point per object. It follows flips, crops and resizes because it brings its own kernels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from det_core.data import CocoDataset
from det_core.plugins.hooks import hookimpl
from det_core.structures import Detections, Prediction, Sample, Targets
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.ops import roi_align
from torchvision.transforms.v2 import functional as v2

POINTS = "det-throwaway/points"


@hookimpl
def det_datasets() -> dict[str, str]:
    return {"pointed_coco": "throwaway:PointedCoco"}


@hookimpl
def det_heads() -> dict[str, str]:
    return {"point_head": "throwaway:PointHead"}


@hookimpl
def det_evaluators() -> dict[str, str]:
    return {"point_distance": "throwaway:PointDistance"}


class Points(tv_tensors.TVTensor):
    """float32 (N, 2): x, y in pixels of a canvas (height, width)."""

    canvas_size: tuple[int, int]

    def __new__(cls, data: Any, canvas_size: tuple[int, int]) -> "Points":
        points = torch.as_tensor(data, dtype=torch.float32).as_subclass(cls)
        points.canvas_size = canvas_size
        return points


@v2.register_kernel(v2.horizontal_flip, Points)
def flip(points: Points) -> Points:
    width = points.canvas_size[1]
    return Points(torch.stack([width - points[:, 0], points[:, 1]], 1), points.canvas_size)


@v2.register_kernel(v2.crop, Points)
def crop(points: Points, top: int, left: int, height: int, width: int) -> Points:
    return Points(points.as_subclass(Tensor) - torch.tensor([left, top]), (height, width))


@v2.register_kernel(v2.resize, Points)
def resize(points: Points, size: Sequence[int], **_: Any) -> Points:
    height, width = points.canvas_size
    return Points(points.as_subclass(Tensor) * torch.tensor([size[1] / width, size[0] / height]), tuple(size))


class PointedCoco:
    """A COCO-format dataset with one point in each object: a quarter of the way across its box, and down it."""

    evaluators = ("coco", "det-throwaway/point_distance")

    def __init__(self, images: Path, annotations: Path) -> None:
        self.inner = CocoDataset(images, annotations)
        self.classes = self.inner.classes

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> Sample:
        sample = self.inner[index]
        x0, y0, x1, y1 = sample.targets.boxes.unbind(1)
        points = Points(torch.stack([0.75 * x0 + 0.25 * x1, 0.75 * y0 + 0.25 * y1], 1), sample.size)
        return replace(sample, targets=replace(sample.targets, extras={POINTS: points}))


class PointHead(nn.Module):
    """Predicts where in its box an object's point lies, as shares of width and height, from one pooled level."""

    contract = "RegionHead"

    def __init__(self, channels: Mapping[str, int], strides: Mapping[str, int], level: str = "p3") -> None:
        super().__init__()
        self.level, self.scale = level, 1 / strides[level]
        self.predictor = nn.Linear(channels[level] * 9, 2)

    def forward(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        pooled = roi_align(features[self.level], list(boxes), 3, self.scale, sampling_ratio=2, aligned=True)
        return self.predictor(pooled.flatten(1)).sigmoid()

    def losses(
        self, features: Mapping[str, Tensor], proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        boxes, points = torch.cat(list(proposals)), torch.cat([t.extras[POINTS] for t in targets])
        truth = (points - boxes[:, :2]) / (boxes[:, 2:] - boxes[:, :2])
        return {"loss_point": F.l1_loss(self(features, proposals), truth, reduction="sum") / max(len(boxes), 1)}

    def predict(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        boxes = [d.boxes for d in detections]
        shares = self(features, boxes).split([len(b) for b in boxes])
        points = [b[:, :2] + share * (b[:, 2:] - b[:, :2]) for b, share in zip(boxes, shares, strict=True)]
        return [
            replace(d, extras={**d.extras, POINTS: Points(p, d.size)}) for d, p in zip(detections, points, strict=True)
        ]


class PointDistance:
    """Mean distance from each true point to the nearest predicted one, in pixels of the stored image."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.distances: list[float] = []

    def update(self, prediction: Prediction, sample: Sample) -> None:
        guesses, truth = prediction.detections.extras[POINTS], sample.targets.extras[POINTS]
        if len(guesses):
            self.distances += torch.cdist(truth.as_subclass(Tensor), guesses).min(1).values.tolist()

    def state(self) -> list[float]:
        return self.distances

    def merge(self, states: Sequence[list[float]]) -> None:
        self.distances = [distance for state in states for distance in state]

    def result(self) -> dict[str, float]:
        return {"points/distance": sum(self.distances) / len(self.distances)} if self.distances else {}
