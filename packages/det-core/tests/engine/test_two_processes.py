"""Two processes that evaluate together over gloo come to the figures of one; this file is also their program."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from det_core.contracts import Evaluator
from det_core.data import CocoDataset, EvalLoader, ResizeShortestEdge
from det_core.engine import evaluate
from det_core.engine.distributed import broadcast, gather, process_group, rank_and_world_size
from det_core.errors import DataError
from det_core.evaluation import CocoEvaluator
from det_core.structures import Detections, ImageBatch, Prediction, Proposals, Sample, Targets
from torch import distributed as dist
from torch import nn

CELLS = Path(__file__).parents[4] / "tests" / "data" / "blood-cells"
pytestmark = pytest.mark.skipif(not CELLS.exists(), reason="needs the blood smears in tests/data of the repository")


class Cells:
    """The blood smears, and a fifth image that cannot be read."""

    evaluators = ("coco",)

    def __init__(self) -> None:
        self.cells = CocoDataset(CELLS / "images", CELLS / "instances.json")
        self.classes = self.cells.classes

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Sample:
        if index == 3:
            raise DataError("lost.jpg", "there is no such image file")
        return self.cells[min(index, 3)]


class Remembers(nn.Module):
    """Knows the objects of an image by its mean colour, and tells them not quite rightly."""

    num_classes = 3

    def __init__(self, cells: Cells) -> None:
        super().__init__()
        resize = ResizeShortestEdge(240)
        self.known = {}
        for sample in (cells[index] for index in (0, 1, 2, 4)):
            assert sample.targets is not None
            self.known[self.colour(resize(sample.image))] = sample.targets

    def colour(self, pixels: torch.Tensor) -> float:
        return float(pixels.double().mean())

    def forward(self, batch: ImageBatch, targets: Any = None) -> Any:
        if targets is not None:
            return {"loss_a": batch.pixels.new_ones((), dtype=torch.float32) * sum(map(len, targets)) / len(targets)}
        return [self.tell(self.known[self.colour(pixels)], tuple(pixels.shape[1:])) for pixels in batch.pixels]

    def tell(self, truth: Targets, size: Any) -> Prediction:
        random = torch.Generator().manual_seed(len(truth))
        corners = truth.boxes / 2 + 3 * torch.randn(truth.boxes.shape, generator=random)
        corners = torch.cat((corners[:, :2], torch.maximum(corners[:, 2:], corners[:, :2] + 1)), 1)
        # Few different scores: equal ones must come in the same order, whoever has seen which image.
        scores = torch.randint(1, 4, (len(truth),), generator=random) / 4
        labels = torch.where(scores > 0.5, truth.labels, (truth.labels + 1) % 3)
        order = scores.argsort(descending=True, stable=True)
        found = Detections(boxes=corners[order], labels=labels[order], scores=scores[order], size=size)
        return Prediction(detections=found, proposals=Proposals(boxes=corners, logits=scores))


def outcome() -> Any:
    """What this process comes to, alone or with others."""
    rank, world_size = rank_and_world_size()
    cells = Cells()
    loader = EvalLoader(
        dataset=cells,
        batch_size=1,
        transforms=[ResizeShortestEdge(240)],
        on_bad_image="skip",
        rank=rank,
        world_size=world_size,
    )
    evaluators: list[Evaluator] = [CocoEvaluator(cells.classes)]
    result = evaluate(Remembers(cells), loader, evaluators, losses=True)
    return [result.metrics, list(result.notes)]


def test_two_processes_come_to_the_figures_of_one(tmp_path: Path) -> None:
    alone = outcome()
    assert 0.05 < alone[0]["bbox/AP"] < 0.95
    assert alone[1] == ["left out: lost.jpg: there is no such image file"]
    running = [subprocess.Popen([sys.executable, __file__, str(tmp_path), str(rank)]) for rank in (0, 1)]
    assert [each.wait(timeout=600) for each in running] == [0, 0]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == json.loads(json.dumps(alone))
    assert second == first


def test_one_process_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group() as own:
        assert own == rank_and_world_size() == (0, 1)
        assert (gather("a"), broadcast("b")) == (["a"], "b")


if __name__ == "__main__":
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    # A file to meet at needs no free port.
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=number, world_size=2)
    with process_group() as own:  # the group that is there already
        assert own == (number, 2)
        (folder / f"{number}.json").write_text(json.dumps(outcome()))
    dist.destroy_process_group()
