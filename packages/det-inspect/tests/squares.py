"""A dataset of squares and a model that finds them by their colors, for recipes of tests."""

from pathlib import Path

import torch
from det_core.structures import Detections, Prediction, Sample, Targets
from torch import nn

SIZE = (32, 48)
COLORS = ((220, 30, 30), (30, 60, 220))


class Squares:
    """Gray images, each with one red and one blue square."""

    evaluators = ("coco",)
    classes = ("red", "blue")
    category_ids = (10, 20)

    def __init__(self, length: int = 5) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        image = torch.full((3, *SIZE), 128, dtype=torch.uint8)
        boxes = []
        for label, color in enumerate(COLORS):
            x, y, side = 24 * label + index % 9, 2 + index % 7, 9 + index % 4
            image[:, y : y + side, x : x + side] = torch.tensor(color, dtype=torch.uint8)[:, None, None]
            boxes.append([x, y, x + side, y + side])
        targets = Targets(boxes=torch.tensor(boxes).float(), labels=torch.tensor([0, 1]))
        return Sample(image=image, targets=targets, id=index, path=Path(f"squares/{index}.png"))


class Colors(nn.Module):
    """Finds the red and the blue square by their colors; `reverse` reads the channels in the other order."""

    num_classes = 2

    def __init__(self, reverse: bool = False) -> None:
        super().__init__()
        self.reverse, self.images = reverse, 0
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, batch, targets=None):
        if targets is not None:
            return {"loss_a": self.bias.sum() + 0.5}
        self.images += len(batch.pixels)
        return [self.predict(pixels) for pixels in (batch.pixels.flip(1) if self.reverse else batch.pixels)]

    def predict(self, image: torch.Tensor) -> Prediction:
        boxes = []
        for channel in (0, 2):
            y, x = torch.nonzero(image[channel] > 200, as_tuple=True)
            boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
        labels, scores = torch.tensor([0, 1]), torch.tensor([0.9, 0.8])
        found = Detections(boxes=torch.tensor(boxes).float(), labels=labels, scores=scores, size=tuple(image.shape[1:]))
        return Prediction(detections=found)
