"""A detector for benchmarks/ray_predict.py that keeps one core busy for a given time per image."""

import time

import torch
from det_core.structures import Detections, ImageBatch, Prediction
from torch import nn


class Busy(nn.Module):
    """Finds one object in each image, after `seconds` of processor time."""

    def __init__(self, seconds: float = 0.3) -> None:
        super().__init__()
        self.num_classes, self.seconds = 1, seconds
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, batch: ImageBatch, targets: None = None) -> list[Prediction]:
        """One box per image, as large as the image."""
        predictions = []
        for height, width in batch.sizes:
            end = time.thread_time() + self.seconds
            while time.thread_time() < end:
                torch.ones(64, 64).sum()
            box = torch.tensor([[0.0, 0.0, width, height]])
            label, score = torch.zeros(1, dtype=torch.int64), torch.ones(1)
            detections = Detections(boxes=box, labels=label, scores=score, size=(height, width))
            predictions.append(Prediction(detections=detections))
        return predictions
