"""The smallest components that pass every check of the conformance kit; its tests break them one rule at a time."""

import json
from typing import NamedTuple

import torch
from det_core.structures import Detections, Prediction, Proposals, Sample, Targets
from torch import nn
from torch.nn import functional as F

CLASSES = 3


class Net(nn.Module):
    """A backbone of two convolutions."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.channels, self.strides, self.size_divisibility = {"a": width, "b": 2 * width}, {"a": 4, "b": 8}, 8
        self.first = nn.Conv2d(3, width, 4, stride=4)
        self.second = nn.Conv2d(width, 2 * width, 2, stride=2)

    def forward(self, pixels):
        a = F.relu(self.first(pixels))
        return {"a": a, "b": F.relu(self.second(a))}


def pool(features, level, boxes):
    """The mean of a level of each image for each of its boxes (P, C), mixed with where the box is."""
    rows = [features[level][i].mean(dim=(1, 2)).expand(len(b), -1) for i, b in enumerate(boxes)]
    return torch.cat(rows) + torch.cat(list(boxes)).mean(dim=1, keepdim=True) / 100


def clipped(boxes, size):
    limit = boxes.new_tensor([size[1], size[0]] * 2)
    return boxes.clamp(min=0).minimum(limit)


class Finder(nn.Module):
    """A proposal generator: one fixed box per cell of a level."""

    contract = "ProposalGenerator"

    def __init__(self, channels: dict[str, int], strides: dict[str, int], level: str = "p5") -> None:
        super().__init__()
        self.level, self.stride = level, strides[level]
        self.score = nn.Conv2d(channels[level], 1, 1)

    def logits(self, features):
        return self.score(features[self.level]).flatten(1).float()

    def propose(self, features, sizes):
        height, width = features[self.level].shape[-2:]
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        corner = torch.stack((x, y), -1).reshape(-1, 2).to(features[self.level].device) * float(self.stride)
        found = []
        for logits, size in zip(self.logits(features).detach(), sizes, strict=True):
            order = logits.argsort(descending=True)
            boxes = clipped(torch.cat((corner, corner + self.stride), 1), size)
            found.append(Proposals(boxes=boxes[order], logits=logits[order]))
        return found

    def losses(self, features, targets):
        there = torch.tensor([float(len(t) > 0) for t in targets], device=features[self.level].device)
        logits = self.logits(features)
        return {"loss_there": F.binary_cross_entropy_with_logits(logits, there[:, None].expand_as(logits))}

    def forward(self, features, sizes, targets=None):
        return self.propose(features, sizes), {} if targets is None else self.losses(features, targets)


class Stage(nn.Module):
    """ROI heads: classifies each proposal and leaves it where it is."""

    contract = "ROIHeads"

    def __init__(self, channels: dict[str, int], strides: dict[str, int], num_classes: int) -> None:
        super().__init__()
        self.classify = nn.Linear(channels["p4"], num_classes)

    def scores(self, features, proposals):
        return self.classify(pool(features, "p4", [p.boxes for p in proposals])).float()

    def losses(self, features, proposals, targets, sizes):
        logits = self.scores(features, proposals)
        return {"loss_cls": logits.sub(1).square().sum() / max(len(logits), 1)}

    def predict(self, features, proposals, sizes):
        scores, labels = self.scores(features, proposals).sigmoid().max(dim=1)
        counts = [len(p) for p in proposals]
        rows = zip(proposals, scores.split(counts), labels.split(counts), sizes, strict=True)
        return [Detections(boxes=p.boxes, labels=own, scores=s, size=size) for p, s, own, size in rows]

    def predict_given_boxes(self, features, detections):
        return list(detections)


class Quality(nn.Module):
    """A region head: one more number per detection."""

    contract = "RegionHead"

    def __init__(self, channels: dict[str, int], strides: dict[str, int]) -> None:
        super().__init__()
        self.rate = nn.Linear(channels["p4"], 1)

    def losses(self, features, proposals, targets):
        rates = self.rate(pool(features, "p4", proposals)).float()
        return {"loss_quality": rates.sub(1).square().sum() / max(len(rates), 1)}

    def predict(self, features, detections):
        from dataclasses import replace

        rates = self.rate(pool(features, "p4", [d.boxes for d in detections])).float().squeeze(1)
        own = rates.split([len(d) for d in detections])
        return [replace(d, extras={"kit/quality": r}) for d, r in zip(detections, own, strict=True)]


class Outputs(NamedTuple):
    logits: torch.Tensor


class Dense(nn.Module):
    """A dense head: one box per cell of a level."""

    contract = "DenseHead"

    def __init__(self, channels: dict[str, int], strides: dict[str, int], num_classes: int) -> None:
        super().__init__()
        self.stride, self.score = strides["p5"], nn.Conv2d(channels["p5"], num_classes, 1)

    def forward(self, features):
        return Outputs(self.score(features["p5"]))

    def losses(self, outputs, sizes, targets):
        return {"loss_cls": outputs.logits.float().sub(1).square().mean()}

    def decode(self, outputs, sizes):
        found = []
        for logits, size in zip(outputs.logits.float(), sizes, strict=True):
            scores, labels = logits.flatten(1).sigmoid().max(dim=0)
            y, x = torch.meshgrid(*(torch.arange(n, device=logits.device) for n in logits.shape[1:]), indexing="ij")
            corner = torch.stack((x, y), -1).reshape(-1, 2) * float(self.stride)
            boxes = clipped(torch.cat((corner, corner + self.stride), 1), size)
            found.append(Detections(boxes=boxes, labels=labels, scores=scores, size=size))
        return found


class Condense(nn.Module):
    """A box head of one layer."""

    contract = "BoxHead"

    def __init__(self, in_channels: int, resolution: int) -> None:
        super().__init__()
        self.out_dim = 4
        self.layer = nn.Linear(in_channels * resolution**2, 4)

    def forward(self, pooled):
        return self.layer(pooled.flatten(1))


class Predictor(nn.Module):
    """A box predictor that leaves regions where they are."""

    contract = "BoxPredictor"
    box_dim = 4

    def __init__(self, in_dim: int, num_classes: int) -> None:
        super().__init__()
        self.classify = nn.Linear(in_dim, num_classes + 1)

    def forward(self, x):
        return self.classify(x)

    def losses(self, outputs, proposals, labels, boxes):
        return {"loss_cls": F.cross_entropy(outputs.float(), labels, reduction="sum") / max(len(labels), 1)}

    def detect(self, outputs, proposals, sizes):
        scores, labels = outputs.float().softmax(dim=1)[:, :-1].max(dim=1)
        counts = [len(p) for p in proposals]
        rows = zip(proposals, scores.split(counts), labels.split(counts), sizes, strict=True)
        return [Detections(boxes=p, labels=own, scores=s, size=size) for p, s, own, size in rows]


class Pixels(nn.Module):
    """A semantic head of one layer."""

    contract = "SemanticHead"

    def __init__(self, channels: dict[str, int], strides: dict[str, int], num_classes: int) -> None:
        super().__init__()
        self.scale, self.classify = strides["p2"], nn.Conv2d(channels["p2"], num_classes, 1)

    def forward(self, features):
        return F.interpolate(self.classify(features["p2"]).float(), scale_factor=self.scale)

    def losses(self, features, targets):
        logits = self(features)
        total = sum(
            F.cross_entropy(own[None, :, : t.shape[0], : t.shape[1]], t[None], ignore_index=255, reduction="sum")
            for own, t in zip(logits, targets, strict=True)
        )
        return {"loss_semantic": total / max(sum(int((t != 255).sum()) for t in targets), 1)}


class Whole(nn.Module):
    """A model: one box around each image."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.classify = nn.Linear(3, num_classes)

    def logits(self, batch):
        means = [p[:, :h, :w].float().mean(dim=(1, 2)) for p, (h, w) in zip(batch.pixels, batch.sizes, strict=True)]
        return self.classify(torch.stack(means) / 255).float()

    def losses(self, batch, targets):
        there = torch.tensor([[float(c in t.labels) for c in range(self.num_classes)] for t in targets])
        logits = self.logits(batch)
        return {"loss_cls": F.binary_cross_entropy_with_logits(logits, there.to(logits.device))}

    def predict(self, batch):
        found = []
        for logits, (h, w) in zip(self.logits(batch), batch.sizes, strict=True):
            score, label = logits.sigmoid().max(dim=0)
            box = logits.new_tensor([[0, 0, w, h]])
            detections = Detections(boxes=box, labels=label[None], scores=score[None], size=(h, w))
            found.append(Prediction(detections=detections))
        return found

    def forward(self, batch, targets=None):
        return self.predict(batch) if targets is None else self.losses(batch, targets)


class Pictures:
    """A dataset of three pictures; the last holds nothing."""

    classes = ("red", "green")
    evaluators = ("coco",)

    def __len__(self):
        return 3

    def targets(self, index):
        boxes = torch.tensor([[2.0, 3, 12, 9], [20, 4, 30, 28]])[: 2 - index]
        return Targets(boxes=boxes, labels=torch.tensor([0, 1])[: 2 - index])

    def __getitem__(self, index):
        image = torch.full((3, 32, 40), 10 * index, dtype=torch.uint8)
        return Sample(image=image, targets=self.targets(index), id=index)


class Count:
    """An evaluator: the share of objects whose image has as many detections as objects."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.images: list[tuple[int, int]] = []

    def update(self, prediction, sample):
        self.images.append((len(prediction.detections), len(sample.targets)))

    def state(self):
        return self.images

    def merge(self, states):
        self.images = [image for state in states for image in state]

    def result(self):
        total = sum(true for _, true in self.images)
        return {"count/right": sum(t for n, t in self.images if n == t) / total} if total else {}


class Writer:
    """An exporter of `Whole`: its weights as JSON."""

    suffixes = (".json",)

    def __init__(self):
        self.about, self.trust = {}, False

    def export(self, model, example, path):
        from det_core.errors import ConfigError

        if not isinstance(model, Whole):
            raise ConfigError("Writer", "exports Whole alone", f"got {type(model).__name__}")
        path.write_text(json.dumps({k: v.tolist() for k, v in model.state_dict().items()}))
        return path

    def load(self, path):
        model = Whole().eval()
        model.load_state_dict({k: torch.tensor(v) for k, v in json.loads(path.read_text()).items()})
        return model
