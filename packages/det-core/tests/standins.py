"""A detector, a dataset and an evaluator that take milliseconds, for tests of what surrounds them."""

from pathlib import Path

import torch
from det_core.errors import DataError
from det_core.recipes import Recipe, recipe_from_tree
from det_core.structures import Detections, Prediction, Sample, Targets
from torch import nn
from torch.nn import functional as F

SIZE = (32, 48)
CELL = 8
COLOURS = ((220, 30, 30), (30, 60, 220))


class Squares:
    """Grey images, each with one red and one blue square; `broken` indices cannot be read."""

    evaluators = ("standins:Recall",)

    def __init__(self, length: int = 6, seed: int = 0, broken: tuple[int, ...] = (), classes=("red", "blue")):
        self.length, self.seed, self.broken, self.classes = length, seed, broken, tuple(classes)
        self.category_ids = tuple(10 * (label + 1) for label in range(len(self.classes)))

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        path = Path(f"squares/{index}.png")
        if index in self.broken:
            raise DataError(str(path), "the image is damaged")
        random = torch.Generator().manual_seed(1000 * self.seed + index)
        image = torch.full((3, *SIZE), 128, dtype=torch.uint8)
        boxes = []
        for label, colour in enumerate(COLOURS):
            side = int(torch.randint(9, 14, (), generator=random))
            x = 24 * label + int(torch.randint(0, 24 - side, (), generator=random))
            y = int(torch.randint(0, SIZE[0] - side, (), generator=random))
            image[:, y : y + side, x : x + side] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
            boxes.append([x, y, x + side, y + side])
        targets = Targets(boxes=torch.tensor(boxes).float(), labels=torch.tensor([0, 1]))
        return Sample(image=image, targets=targets, id=index, path=path)


class Tiny(nn.Module):
    """One cell of 8 x 8 pixels says what is centred in it; its loss looks at random cells, as real ones do."""

    def __init__(self, num_classes: int = 2, explode_after: int | None = None):
        super().__init__()
        self.num_classes, self.explode_after, self.calls = num_classes, explode_after, 0
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, CELL, CELL), nn.ReLU(), nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3, 1, 1)
        )
        self.head = nn.Conv2d(16, num_classes + 4, 1)

    def cells(self, pixels):
        height, width = pixels.shape[2:]
        pixels = F.pad(pixels.float() / 255 - 0.5, (0, -width % CELL, 0, -height % CELL))
        logits, sides = self.head(self.body(pixels)).split([self.num_classes, 4], dim=1)
        return logits, sides.exp() * CELL

    def forward(self, batch, targets=None):
        if targets is not None:
            return self.losses(*self.cells(batch.pixels), targets)
        # One by one, so that no padding is seen.
        alone = [image[None, :, :h, :w] for image, (h, w) in zip(batch.pixels, batch.sizes, strict=True)]
        return [self.decode(*(m[0] for m in self.cells(i)), s) for i, s in zip(alone, batch.sizes, strict=True)]

    def losses(self, logits, sides, targets):
        truth = torch.zeros(logits.shape)
        box_loss = logits.sum() * 0
        for image, target in enumerate(targets):
            for box, label in zip(target.boxes, target.labels.tolist(), strict=True):
                x, y = (int((box[i] + box[i + 2]) / 2 / CELL) for i in (0, 1))
                truth[image, label, y, x] = 1
                centre = box.new_tensor([x + 0.5, y + 0.5]) * CELL
                wanted = torch.cat([centre - box[:2], box[2:] - centre]).clamp(min=1)
                box_loss = box_loss + (sides[image, :, y, x].log() - wanted.log()).abs().mean()
        weight = (torch.rand_like(truth) < 0.5) | (truth > 0)
        score_loss = F.binary_cross_entropy_with_logits(logits, truth, weight.float(), reduction="sum")
        self.calls += self.training
        if self.explode_after is not None and self.calls > self.explode_after:
            box_loss = box_loss * float("nan")
        return {"loss_score": score_loss / len(targets), "loss_box": box_loss / len(targets)}

    def decode(self, logits, sides, size):
        scores, index = logits.sigmoid().flatten().topk(min(8, logits.numel()))
        per_class = logits[0].numel()
        label, cell = index // per_class, index % per_class
        y, x = cell // logits.shape[2], cell % logits.shape[2]
        centre = (torch.stack([x, y], 1) + 0.5) * CELL
        side = sides.flatten(1)[:, cell].T
        boxes = torch.cat([centre - side[:, :2], centre + side[:, 2:]], 1)
        limit = boxes.new_tensor([size[1], size[0]] * 2)
        boxes = boxes.clamp(min=0).minimum(limit)
        return Prediction(detections=Detections(boxes=boxes, labels=label, scores=scores, size=size))


class Recall:
    """The share of objects that some prediction of their class overlaps by half."""

    def __init__(self, classes):
        self.classes, self.found, self.total = classes, 0, 0
        self.notes = {"box/AP": "recall knows no precision"}

    def update(self, prediction, sample):
        from det_core.ops.boxes import iou

        found, truth = prediction.detections, sample.targets
        assert found.size == sample.size
        same = found.labels[:, None] == truth.labels[None]
        overlap = torch.where(same, iou(found.boxes, truth.boxes), torch.zeros(()))
        self.found += int((overlap.amax(0) > 0.5).sum())
        self.total += len(truth)

    def state(self):
        return self.found, self.total

    def merge(self, states):
        self.found, self.total = (sum(values) for values in zip(*states, strict=True))

    def result(self):
        return {"box/recall": self.found / self.total, "box/seen": float(self.total)}


def recipe(**train) -> Recipe:
    """A whole recipe of the stand-ins; `train` changes its section of that name."""
    tree = {
        "model": {"type": "standins:Tiny"},
        "data": {
            "train": {"type": "standins:Squares"},
            "val": {"type": "standins:Squares", "length": 3, "seed": 1},
            "test": {"type": "standins:Squares", "length": 4, "seed": 2},
            "workers": 0,
        },
        "train": {
            "steps": 6,
            "batch_size": 2,
            "optimizer": {"type": "torch.optim:SGD", "lr": 0.01, "momentum": 0.9},
            "schedule": {"type": "det_core.engine.schedules:WarmupCosine", "warmup": 2},
            "log_every": 1,
            "device": "cpu",
            **train,
        },
    }
    return recipe_from_tree(tree, "the stand-in recipe")
