"""A detector whose numbers are none says so."""

import warnings

import pytest
import standins
import torch
from det_core import Detector
from det_core.backbones import FPN, ResNet
from det_core.data import EvalLoader
from det_core.engine import evaluate
from det_core.errors import DetWarning
from det_core.evaluation import CocoEvaluator
from det_core.models import DenseDetector, DenseNMS, RetinaNetHead, TowerLayers
from det_core.recipes import Factory

IMAGE = torch.randint(0, 256, (3, 64, 80), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def pyramid():
    torch.manual_seed(0)
    return FPN(ResNet(18, stem_channels=8, res2_channels=8), out_channels=8)


def detector(**options):
    head = Factory(RetinaNetHead, tower=TowerLayers(conv_dims=[-1]), **{"prior_probability": 0.3, **options})
    return Detector(DenseDetector(pyramid(), head, num_classes=2), ["a", "b"], device="cpu")


def test_nan_checks_non_finite_backbone_warns_without_detections():
    broken = detector()
    broken.model.backbone.bottom_up.stem.conv1.weight.data[0] = float("inf")
    with pytest.warns(
        DetWarning, match=r"levels p2, p3, p4, p5, p6 .*damaged: backbone\.bottom_up\.stem\.conv1\.weight"
    ):
        assert len(broken(IMAGE)) == 0


def test_nan_checks_evaluation_warns_once_for_all_images():
    broken = detector().model
    broken.backbone.bottom_up.stem.conv1.weight.data[0] = float("nan")
    batches = EvalLoader(dataset=standins.Squares(3), batch_size=2)
    [note] = [note for note in evaluate(broken, batches, [CocoEvaluator(("red", "blue"))]).notes if "NaN" in note]
    assert note.startswith("nothing can be found in 3 images, such as squares/0.png: levels p2, p3, p4, p5, p6 of")
    assert note.endswith("the weights are damaged: backbone.bottom_up.stem.conv1.weight")


def test_nan_checks_finite_images_give_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", DetWarning)
        assert len(detector()(IMAGE, threshold=0.0)) > 0
        assert len(detector(nms=DenseNMS(score_threshold=0.99))(IMAGE)) == 0
