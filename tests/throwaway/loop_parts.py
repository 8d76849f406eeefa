"""One implementation of each contract around the model, made for a test: no base class of det's, no registration."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
from contract_parts import TinyBackbone
from det_core.structures import Detections, ImageBatch, Prediction, Sample, Size, Targets
from torch import Tensor, nn

SIDE = 64


class Squares:
    """A dataset of three generated images with a bright square each; it knows its images without reading them."""

    classes = ("left", "right")
    evaluators: Sequence[Any] = ()

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        image = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
        x = 8.0 * (index + 1)
        image[:, 10:30, int(x) : int(x) + 20] = 200
        boxes = torch.tensor([[x, 10.0, x + 20, 30.0]])
        return Sample(image=image, targets=Targets(boxes=boxes, labels=torch.tensor([index % 2])), id=index + 1)

    def size_of(self, index: int) -> Size:
        return SIDE, SIDE

    def labels_of(self, index: int) -> Sequence[int]:
        return [index % 2]


class OnlyLeft:
    """A sampler that shows the images with an object of label 0, which it asks of the dataset."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.rows = [i for i in range(len(dataset)) if 0 in dataset.labels_of(i)]

    def epoch(self, number: int) -> Tensor:
        return torch.tensor(self.rows).roll(number)


class Brighten:
    """A transform; it counts the images that it has changed."""

    seen = 0

    def __call__(self, sample: Sample) -> Sample:
        Brighten.seen += 1
        return replace(sample, image=sample.image.clamp(max=215) + 40)


class RenamedBackbone(TinyBackbone):
    """Its convolution was once published as "stem"."""

    def older_weights(self, state: Mapping[str, Tensor], path: str) -> tuple[str, dict[str, Tensor]] | None:
        if not any(key.startswith(f"{path}.stem.") for key in state):
            return None
        renamed = {key.replace(f"{path}.stem.", f"{path}.conv."): value for key, value in state.items()}
        return f"{path}.stem was renamed", renamed


class Mean(nn.Module):
    """What a file of `MeanExporter` computes: one box on the whole image, with a constant score."""

    num_classes = 2

    def __init__(self, score: float) -> None:
        super().__init__()
        self.score = score

    def forward(self, batch: ImageBatch) -> list[Prediction]:
        return [Prediction(detections=self._whole(size)) for size in batch.sizes]

    def _whole(self, size: Size) -> Detections:
        boxes = torch.tensor([[0.0, 0.0, float(size[1]), float(size[0])]])
        return Detections(boxes=boxes, labels=torch.tensor([0]), scores=torch.tensor([self.score]), size=size)


class MeanExporter:
    """Writes the mean of a model's weights."""

    suffixes = (".mean",)

    def __init__(self) -> None:
        self.about: Mapping[str, Any] = {}
        self.trust = False

    def export(self, model: Any, example: ImageBatch, path: Path) -> Path:
        values = [value.float().mean() for value in model.state_dict().values()]
        path.write_text(json.dumps(float(torch.stack(values).mean().sigmoid())))
        return path

    def load(self, path: Path) -> Mean:
        return Mean(json.loads(path.read_text()))


class Counted:
    """The explanation of `Counting`."""

    def __init__(self, images: int) -> None:
        self.images = images

    def as_json(self) -> dict[str, Any]:
        return {"images": self.images}

    def show(self) -> None:
        click.echo(f"{self.images} images were evaluated")

    def write_report(self, folder: Path, title: str, metrics: Mapping[str, float | None], notes: Sequence[str]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.txt").write_text(f"{title}: {self.images}")
        return folder / "report.txt"


class Counting:
    """An analysis that counts images."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.count = 0

    def update(self, prediction: Prediction, sample: Sample) -> None:
        self.count += 1

    def state(self) -> int:
        return self.count

    def merge(self, states: Sequence[int]) -> None:
        self.count = sum(states)

    def result(self) -> dict[str, float]:
        return {}

    def explain(self, evaluators: Any, model: Any, batches: Any) -> Counted:
        return Counted(self.count)
