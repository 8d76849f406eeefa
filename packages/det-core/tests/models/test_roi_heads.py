"""The second stage, and further heads on it."""

from dataclasses import replace

import pytest
import torch
from det_core.contracts import RegionHead, ROIHeads
from det_core.errors import ConfigError
from det_core.models import NMS, FastRCNNConvFCHead, FastRCNNPredictor, RegionSampler, StandardROIHeads
from det_core.recipes import Factory
from det_core.structures import Proposals, Targets
from torch import nn
from torch.nn import functional as F
from torchvision.ops import roi_align

CHANNELS = {"p2": 4, "p3": 4, "p4": 4, "p5": 4, "p6": 4}
STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64}
SIZES = [(64, 64), (64, 64)]
SMALL = Factory(FastRCNNConvFCHead, num_fc=1, fc_dim=8)


class CentreHead(nn.Module):
    """Says where in its box an object's point lies: a whole region head in a few lines."""

    def __init__(self, channels, num_classes):
        super().__init__()
        self.seen = []
        self.fc = nn.Linear(channels["p2"], 2)

    def points(self, features, boxes):
        pooled = roi_align(features["p2"], list(boxes), 1, 1 / 4, aligned=True).flatten(1)
        return self.fc(pooled)

    def losses(self, features, proposals, targets):
        self.seen.append((proposals, targets))
        truth = torch.cat([t.extras["acme/points"] for t in targets])
        loss = F.l1_loss(self.points(features, proposals), truth, reduction="sum") / max(len(truth), 1)
        return {"loss_points": loss}

    def predict(self, features, detections):
        points = self.points(features, [d.boxes for d in detections])
        per_image = points.split([len(d) for d in detections])
        return [replace(d, extras={**d.extras, "acme/points": p}) for d, p in zip(detections, per_image, strict=True)]


def heads(**options):
    return StandardROIHeads(CHANNELS, STRIDES, 3, box_head=SMALL, **options)


def features():
    return {name: torch.randn(2, 4, 64 // stride, 64 // stride) for name, stride in STRIDES.items()}


def proposals(*boxes):
    return Proposals(boxes=torch.tensor(boxes).reshape(-1, 4), logits=torch.zeros(len(boxes)))


A, B, FAR = [0.0, 0.0, 20.0, 20.0], [30.0, 30.0, 60.0, 60.0], [40.0, 0.0, 60.0, 20.0]
TRUTH = Targets(
    boxes=torch.tensor([A, B]),
    labels=torch.tensor([2, 1]),
    extras={"acme/points": torch.tensor([[0.2, 0.3], [0.7, 0.9]])},
)
NOTHING = TRUTH[:0]


def test_roi_heads_have_published_names_and_default_levels():
    stage = StandardROIHeads(CHANNELS, STRIDES, 3)
    assert isinstance(stage, ROIHeads)
    assert stage.in_features == ("p2", "p3", "p4", "p5")
    parts = ("box_head.fc1", "box_head.fc2", "box_predictor.cls_score", "box_predictor.bbox_pred")
    assert set(stage.state_dict()) == {f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}


def test_proposal_of_iou_one_half_matches_object():
    near = [0.0, 0.0, 20.0, 10.0]
    sampled = heads(sampler=RegionSampler(append_ground_truth=False)).sampler(proposals(near, FAR).boxes, TRUTH, 3)
    assert sampled.labels.tolist() == [2, 3]
    assert TRUTH.boxes[sampled.matched_idxs[0]].tolist() == A


def test_ground_truth_boxes_are_appended_to_proposals_by_default():
    assert heads().sampler(proposals(FAR).boxes, TRUTH, 3).boxes.tolist() == [FAR, A, B]
    assert heads(sampler=RegionSampler(append_ground_truth=False)).sampler(
        proposals(FAR).boxes, TRUTH, 3
    ).boxes.tolist() == [FAR]


def test_without_objects_all_proposals_are_background():
    assert heads().sampler(proposals(A, FAR).boxes, NOTHING, 3).labels.tolist() == [3, 3]


def test_positive_fraction_limits_foreground_to_a_quarter():
    many = torch.tensor([A] * 30 + [FAR] * 30)
    labels = heads(sampler=RegionSampler(batch_size_per_image=16)).sampler(many, TRUTH, 3).labels
    assert (labels < 3).sum() == 4
    assert len(labels) == 16


def test_proposals_between_two_thresholds_are_left_out():
    between = [0.0, 0.0, 20.0, 8.0]  # 0.4 with A
    stage = heads(sampler=RegionSampler(iou_thresholds=(0.3, 0.5), iou_labels=(0, -1, 1), append_ground_truth=False))
    assert stage.sampler(proposals(A, between, FAR).boxes, TRUTH, 3).boxes.tolist() == [A, FAR]


def test_losses_reach_all_parameters_even_without_objects():
    for given, truth in (
        ([proposals(A), proposals(FAR)], [TRUTH, NOTHING]),
        ([proposals(A), proposals(FAR)], [NOTHING, NOTHING]),
        ([proposals(), proposals()], [NOTHING, NOTHING]),
    ):
        stage = heads()
        losses = stage.losses(features(), given, truth, SIZES)
        sum(losses.values()).backward()
        assert set(losses) == {"loss_cls", "loss_box_reg"}
        assert all(value.isfinite() for value in losses.values())
        assert all(parameter.grad is not None for parameter in stage.parameters())


def test_losses_of_batch_are_mean_over_images():
    stage, maps = heads(sampler=RegionSampler(append_ground_truth=False)), features()
    given, truth = [proposals(A, FAR), proposals(B, FAR)], [TRUTH, TRUTH]
    together = stage.losses(maps, given, truth, SIZES)
    single = [
        stage.losses({name: level[i : i + 1] for name, level in maps.items()}, [given[i]], [truth[i]], SIZES[:1])
        for i in (0, 1)
    ]
    for name, value in together.items():
        torch.testing.assert_close(value, (single[0][name] + single[1][name]) / 2)


def test_extra_head_trains_on_foreground_proposals_with_matched_targets():
    stage = heads(heads={"point_head": Factory(CentreHead)})
    assert isinstance(stage.point_head, RegionHead)
    assert "point_head.fc.weight" in stage.state_dict()
    near = [0.0, 0.0, 20.0, 15.0]
    losses = stage.losses(features(), [proposals(FAR, near), proposals(FAR)], [TRUTH, NOTHING], SIZES)
    [(regions, truth)] = stage.point_head.seen
    assert [r.tolist() for r in regions] == [[near, A, B], []]
    assert truth[0].labels.tolist() == [2, 2, 1]
    torch.testing.assert_close(truth[0].extras["acme/points"], TRUTH.extras["acme/points"][torch.tensor([0, 0, 1])])
    assert len(truth[1]) == 0
    losses["loss_points"].backward()
    assert stage.point_head.fc.weight.grad.any()


def test_extra_head_fills_its_extra_of_detections():
    stage = heads(
        heads={"point_head": CentreHead}, box_predictor=Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.0))
    )
    detections = stage.predict(features(), [proposals(A, B), proposals()], SIZES)
    assert [len(d) for d in detections] == [6, 0]
    assert [tuple(d.extras["acme/points"].shape) for d in detections] == [(6, 2), (0, 2)]


def test_duplicate_head_and_loss_names_are_refused():
    with pytest.raises(ConfigError, match="box_head"):
        heads(heads={"box_head": CentreHead})
    stage = heads(heads={"one": CentreHead, "two": CentreHead})
    with pytest.raises(ConfigError, match="loss_points"):
        stage.losses(features(), [proposals(A), proposals(A)], [TRUTH, TRUTH], SIZES)


@pytest.mark.parametrize("levels", [["p9"], []])
def test_levels_that_are_not_there_are_refused(levels):
    with pytest.raises(ConfigError, match="levels of the backbone"):
        heads(in_features=levels)


def test_extra_heads_train_on_boxes_of_matched_class():
    for on, expected in ((False, A), (True, [2.0, 0.0, 22.0, 20.0])):
        stage = heads(
            heads={"points": Factory(CentreHead)},
            sampler=RegionSampler(append_ground_truth=False),
            train_on_predicted_boxes=on,
        )
        nn.init.zeros_(stage.box_predictor.bbox_pred.weight)
        with torch.no_grad():  # class 2 is found a tenth of its width further right, for weights of 10
            stage.box_predictor.bbox_pred.bias.copy_(torch.tensor([9.0] * 8 + [1.0, 0, 0, 0]))
        given = [proposals(A), proposals(FAR)]
        stage.losses(features(), given, [TRUTH, NOTHING], SIZES)
        [(seen, _)] = stage.points.seen
        assert seen[0].tolist() == [pytest.approx(expected)]
        assert not seen[0].requires_grad
