"""A plugin adds a dataset, a head, an evaluator and an extra with geometry without touching core."""

import sys
from pathlib import Path

import pytest
import torch
from det_core import plugins, recipes
from det_core.data import compose
from det_core.engine import train
from det_core.errors import StructureError
from det_core.predict.detector import Detector
from det_core.structures import Sample, Targets
from torchvision.transforms import v2

HERE = Path(__file__).parent
DATA = HERE / "data" / "blood-cells"

RECIPE = """
model:
  type: faster_rcnn
  num_classes: 3
  backbone: {type: fpn, out_channels: 32, bottom_up: {type: torchvision, name: resnet18}}
  roi_heads:
    type: standard_roi_heads
    box_head: {type: fast_rcnn_conv_fc_head, fc_dim: 32}
    heads: {point_head: {type: point_head, level: p3}}
data:
  train: {type: pointed_coco, images: IMAGES, annotations: ANNOTATIONS}
  val: {type: pointed_coco, images: IMAGES, annotations: ANNOTATIONS}
  workers: 0
  train_transforms:
    - {type: "det_core.data:ResizeShortestEdge", size: 160}
    - {type: "torchvision.transforms.v2:RandomHorizontalFlip"}
  eval_transforms: [{type: "det_core.data:ResizeShortestEdge", size: 160}]
train: {steps: 2, batch_size: 2, device: cpu, best_metric: points/distance}
"""


class Window(v2.Transform):
    """Crop to some columns."""

    def __init__(self, left: int, width: int) -> None:
        super().__init__()
        self.left, self.width = left, width

    def transform(self, inpt, params):
        return v2.functional.crop(inpt, 0, self.left, 60, self.width)


@pytest.fixture
def throwaway(tmp_path, monkeypatch):
    """The plugin as an installer leaves it: a module, and metadata with an entry point beside it."""
    site = tmp_path / "site"
    metadata = site / "det_throwaway-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "throwaway.py").write_text((HERE / "throwaway" / "throwaway.py").read_text())
    about = "Metadata-Version: 2.1\nName: det-throwaway\nVersion: 1.0\nRequires-Dist: det-core<1\n"
    (metadata / "METADATA").write_text(about)
    (metadata / "entry_points.txt").write_text("[det]\ndet-throwaway = throwaway\n")
    monkeypatch.syspath_prepend(site)
    plugins.catalog(refresh=True)
    import throwaway

    yield throwaway
    sys.modules.pop("throwaway", None)
    monkeypatch.undo()
    plugins.catalog(refresh=True)


@pytest.fixture
def recipe(throwaway, tmp_path):
    path = tmp_path / "recipe.yaml"
    (annotations,) = DATA.glob("*.json")
    path.write_text(RECIPE.replace("IMAGES", str(DATA / "images")).replace("ANNOTATIONS", str(annotations)))
    return recipes.load(path)


def test_it_is_listed_with_its_components_and_without_problems(throwaway):
    (plugin,) = [p for p in plugins.catalog().plugins if p.distribution == "det-throwaway"]
    assert plugin.components == {
        "datasets": {"pointed_coco": "throwaway:PointedCoco"},
        "heads": {"point_head": "throwaway:PointHead"},
        "evaluators": {"point_distance": "throwaway:PointDistance"},
    }
    assert not plugin.problems


def test_extra_follows_flip_crop_and_resize_with_its_object(throwaway):
    points = throwaway.Points([[10.0, 20.0], [70.0, 30.0]], canvas_size=(60, 80))
    boxes = torch.tensor([[5.0, 15.0, 20.0, 30.0], [60.0, 20.0, 78.0, 40.0]])
    targets = Targets(boxes=boxes, labels=torch.tensor([0, 1]), extras={throwaway.POINTS: points})
    sample = Sample(image=torch.zeros(3, 60, 80, dtype=torch.uint8), targets=targets)

    flipped = compose([v2.RandomHorizontalFlip(p=1)])(sample).targets
    assert flipped.extras[throwaway.POINTS].tolist() == [[70.0, 20.0], [10.0, 30.0]]

    doubled = compose([v2.Resize((120, 160))])(sample).targets
    assert doubled.extras[throwaway.POINTS].tolist() == [[20.0, 40.0], [140.0, 60.0]]

    # Columns 10 to 70 hold some of both objects, columns 20 to 60 neither.
    window = compose([Window(10, 60), v2.Resize((120, 120)), v2.RandomHorizontalFlip(p=1)])(sample).targets
    assert window.labels.tolist() == [0, 1]
    assert window.extras[throwaway.POINTS].tolist() == [[120.0, 40.0], [0.0, 60.0]]
    assert len(compose([Window(20, 40)])(sample).targets.extras[throwaway.POINTS]) == 0


def test_extra_without_crop_kernel_is_refused(throwaway):
    points = throwaway.Points([[10.0, 20.0]], canvas_size=(60, 80))
    targets = Targets(
        boxes=torch.tensor([[5.0, 15.0, 40.0, 30.0]]), labels=torch.tensor([0]), extras={throwaway.POINTS: points}
    )
    sample = Sample(image=torch.zeros(3, 60, 80, dtype=torch.uint8), targets=targets)
    with pytest.raises(StructureError, match=r"det-throwaway/points.*register_kernel"):
        compose([v2.CenterCrop((40, 60))])(sample)


def test_head_trains_evaluates_and_fills_its_extra(throwaway, recipe, tmp_path):
    outcome = train(recipe, tmp_path / "run")
    assert outcome.finished
    assert outcome.best.metric == "points/distance"
    assert 0 < outcome.metrics["points/distance"] < 1000
    assert outcome.metrics["loss_point"] > 0

    detector = Detector.load(outcome.folder.best)
    image = next((DATA / "images").iterdir())
    found = detector(image, threshold=0.0).detections
    points, boxes = found.extras[throwaway.POINTS], found.boxes
    assert len(points) == len(boxes) > 0
    # A point lies in its box, in the pixels of the stored image: the extra was carried there by its own kernel.
    slack = 1.0
    assert (points >= boxes[:, :2] - slack).all()
    assert (points <= boxes[:, 2:] + slack).all()
