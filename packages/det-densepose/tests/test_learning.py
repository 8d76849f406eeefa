"""A small model learns to map a rendered figure onto its surface."""

from pathlib import Path

import pytest
import torch
from det_core.ops.roi import ROIPooler
from det_core.recipes import Factory
from det_core.structures import Detections, Prediction, Sample
from det_densepose.bodies.body import FIGURE
from det_densepose.bodies.published import BodyFolder
from det_densepose.data import DensePoseDataset
from det_densepose.evaluation import DensePoseEvaluator
from det_densepose.losses import DensePoseCseLoss, SoftEmbeddingLoss
from det_densepose.losses.charts import DensePoseChartLoss
from det_densepose.models import (
    DensePoseEmbeddingPredictor,
    DensePoseHead,
    DensePoseV1ConvXHead,
    VertexFeatureEmbedder,
)
from det_densepose.render.scene import Scenery
from det_densepose.render.writing import write_dataset


@pytest.fixture
def one_picture(tmp_path: Path) -> DensePoseDataset:
    file = write_dataset(tmp_path, 1, Scenery((64, 64), (1, 1), upright=True))
    return DensePoseDataset(tmp_path / "images", file, body=FIGURE)


def test_head_overfits_one_rendered_picture(one_picture: DensePoseDataset) -> None:
    torch.manual_seed(0)
    sample = one_picture[0]
    assert sample.targets is not None
    head = DensePoseHead(
        {"p2": 3},
        {"p2": 4},
        1,
        pooler=Factory(ROIPooler, resolution=14, pooling="ROIAlign", sampling_ratio=2),
        decoder=None,
        densepose_head=Factory(DensePoseV1ConvXHead, num_conv=2, conv_dim=32),
        loss=DensePoseChartLoss(),
    )
    features = {"p2": torch.nn.functional.avg_pool2d(sample.image[None].float() / 128 - 1, 4)}
    optimizer = torch.optim.Adam(head.parameters(), lr=5e-3)
    totals = []
    for _ in range(60):
        losses = head.losses(features, [sample.targets.boxes], [sample.targets])
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.5 * totals[0]


def similarity(head: DensePoseHead, features: dict[str, torch.Tensor], sample: Sample) -> float:
    """The average precision by geodesic point similarity of what the head predicts in the annotated box."""
    assert sample.targets is not None
    boxes = sample.targets.boxes.as_subclass(torch.Tensor)
    found = Detections(boxes=boxes, labels=sample.targets.labels, scores=torch.ones(1), size=sample.size)
    evaluator = DensePoseEvaluator(["person"], body=FIGURE)
    with torch.no_grad():
        [described] = head.predict(features, [found])
    evaluator.update(Prediction(detections=described), sample)
    return evaluator.result()["densepose_gps/AP"]


@pytest.mark.slow
def test_embedding_head_overfits_one_rendered_picture(one_picture: DensePoseDataset) -> None:
    torch.manual_seed(0)
    sample = one_picture[0]
    assert sample.targets is not None
    bodies = Factory(BodyFolder)
    head = DensePoseHead(
        {"p2": 3},
        {"p2": 4},
        1,
        pooler=Factory(ROIPooler, resolution=14, pooling="ROIAlign", sampling_ratio=2),
        decoder=None,
        densepose_head=Factory(DensePoseV1ConvXHead, num_conv=2, conv_dim=32),
        densepose_predictor=Factory(DensePoseEmbeddingPredictor),
        embedder={FIGURE: Factory(VertexFeatureEmbedder, num_vertices=1990, feature_dim=64, meshes=bodies)},
        loss=DensePoseCseLoss(embedding=SoftEmbeddingLoss(sigma=0.3, geodesic_sigma=0.05), meshes=bodies),
    )
    assert head.embedder is not None
    head.embedder.prepare()
    features = {"p2": torch.nn.functional.avg_pool2d(sample.image[None].float() / 128 - 1, 4)}
    untrained = similarity(head, features, sample)
    optimizer = torch.optim.Adam(head.parameters(), lr=5e-3)
    for _ in range(100):
        losses = head.losses(features, [sample.targets.boxes], [sample.targets])
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    assert untrained == 0
    assert similarity(head, features, sample) >= 0.6
