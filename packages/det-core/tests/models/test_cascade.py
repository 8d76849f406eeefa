"""Cascade R-CNN: stages that refine the boxes of the stage before."""

import math

import pytest
import torch
from det_core.backbones import FPN, TorchvisionBackbone
from det_core.contracts import ROIHeads
from det_core.errors import ConfigError
from det_core.models import (
    NMS,
    CascadeROIHeads,
    FastRCNNConvFCHead,
    FastRCNNPredictor,
    MaskRCNNConvUpsampleHead,
    RegionSampler,
    mask_rcnn,
)
from det_core.models.heads.cascade import _ScaledGradient
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Polygons, Proposals, Targets

CHANNELS, STRIDES = {"p2": 4, "p3": 4}, {"p2": 4, "p3": 8}
SIZES = [(64, 64), (64, 64)]
TRUTH = Targets(boxes=torch.tensor([[0.0, 0.0, 20.0, 20.0]]), labels=torch.tensor([2]))
NOTHING = Targets(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))


def stage(**options):
    torch.manual_seed(0)
    head = Factory(FastRCNNConvFCHead, num_fc=1, fc_dim=8)
    return CascadeROIHeads(CHANNELS, STRIDES, 3, **{"box_head": head, **options})


def features(images=2):
    random = torch.Generator().manual_seed(1)
    return {n: torch.randn(images, 4, 64 // s, 64 // s, generator=random) for n, s in STRIDES.items()}


def proposals(*boxes):
    return Proposals(boxes=torch.tensor(boxes).reshape(-1, 4), logits=torch.zeros(len(boxes)))


def say(model, *per_stage):
    """Let each stage give fixed logits of classes and background, and offsets, whatever it sees."""
    with torch.no_grad():
        for predictor, (logits, offsets) in zip(model.box_predictor, per_stage, strict=True):
            for layer, values in ((predictor.cls_score, logits), (predictor.bbox_pred, offsets)):
                layer.weight.zero_()
                layer.bias.copy_(torch.tensor(values))
    return model


STAY = [0.0, 0.0, 0.0, 0.0]
EVEN = [0.0, 0.0, 0.0, 0.0]


def test_scores_are_mean_of_stages_and_boxes_of_last():
    model = stage(box_predictor=Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.3)))
    sure = [0.0, math.log(97), 0.0, 0.0]  # 97 of 100 for class 1
    # Offsets are a tenth of the width, then a twentieth of it, then a thirtieth.
    say(model, (sure, [1.0, 0, 0, 0]), (sure, [1.0, 0, 0, 0]), (EVEN, [0.0, 30.0, 0, 0]))
    found, none = model.predict(features(), [proposals([10.0, 10.0, 30.0, 30.0]), proposals()], SIZES)
    assert len(none) == 0
    assert found.labels.tolist() == [1]
    assert found.scores.item() == pytest.approx((0.97 + 0.97 + 0.25) / 3, rel=1e-5)
    torch.testing.assert_close(found.boxes, torch.tensor([[13.0, 30.0, 33.0, 50.0]]))


def test_stages_take_boxes_clipped_to_image():
    model = stage(box_predictor=Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.2)))
    # The first stage moves the box out by half; what is left is half as wide, so that a whole width back is 10 pixels.
    say(model, (EVEN, [10.0, 0, 0, 0]), (EVEN, STAY), (EVEN, [-30.0, 0, 0, 0]))
    found = model.predict(features(1), [proposals([34.0, 10.0, 54.0, 30.0])], SIZES[:1])[0]
    torch.testing.assert_close(found.boxes[0], torch.tensor([44.0, 10.0, 54.0, 30.0]))


def test_later_stages_ask_for_more_overlap():
    model = stage(sampler=RegionSampler(append_ground_truth=False))
    say(model, *((EVEN, STAY) for _ in range(3)))
    for width, foreground in ((15.0, [1, 1, 1]), (13.0, [1, 1, 0]), (11.0, [1, 0, 0])):
        losses = model.losses(features(1), [proposals([0.0, 0.0, width, 20.0])], [TRUTH], SIZES[:1])
        assert [int(losses[f"loss_box_reg_stage{i}"] > 0) for i in range(3)] == foreground


def test_later_stages_train_on_nonempty_refined_boxes():
    model = stage(sampler=RegionSampler(append_ground_truth=False))
    say(model, (EVEN, [-30.0, 0, 0, 0]), (EVEN, STAY), (EVEN, STAY))  # three widths to the left, out of the image
    losses = model.losses(features(1), [proposals([0.0, 0.0, 20.0, 20.0])], [TRUTH], SIZES[:1])
    assert losses["loss_cls_stage0"].item() == pytest.approx(math.log(4))
    assert losses["loss_cls_stage1"] == losses["loss_cls_stage2"] == 0


def test_activations_that_are_not_finite_give_no_detections():
    model = say(stage(), (EVEN, [math.nan] * 4), (EVEN, STAY), ([math.nan] * 4, STAY))
    assert [len(found) for found in model.predict(features(1), [proposals([0.0, 0, 20, 20])], SIZES[:1])] == [0]


def test_gradients_of_the_features_are_shared_among_the_stages():
    x = torch.ones(3, requires_grad=True)
    _ScaledGradient.apply(x, 1 / 3).sum().backward()
    torch.testing.assert_close(x.grad, torch.full((3,), 1 / 3))


@pytest.mark.parametrize("given", [[proposals([0.0, 0, 20, 18])] * 2, [proposals()] * 2])
@pytest.mark.parametrize("truth", [[TRUTH, NOTHING], [NOTHING, NOTHING]])
def test_losses_reach_every_parameter_with_and_without_objects(given, truth):
    model = stage()
    assert isinstance(model, ROIHeads)
    losses = model.losses(features(), given, truth, SIZES)
    assert sorted(losses) == sorted(f"{name}_stage{i}" for name in ("loss_cls", "loss_box_reg") for i in range(3))
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_keys_are_those_of_published_files():
    names = stage().state_dict()
    assert "box_head.2.fc1.weight" in names
    assert names["box_predictor.0.bbox_pred.weight"].shape == (4, 8)


def test_box_weights_are_per_stage_and_set_by_cascade():
    with pytest.raises(ConfigError, match="got 3 for 2 stages"):
        stage(later_ious=[0.6])
    with pytest.raises(ConfigError, match="class_agnostic: is decided by what surrounds it"):
        stage(box_predictor=Factory(FastRCNNPredictor, class_agnostic=True))


def test_cascade_predicts_masks():
    torch.manual_seed(0)
    model = mask_rcnn(
        FPN(TorchvisionBackbone("mobilenet_v3_small", strides=[8, 16, 32]), out_channels=32),
        3,
        mask_head=Factory(MaskRCNNConvUpsampleHead, num_conv=1),
        roi_heads=Factory(CascadeROIHeads, box_predictor=Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.2))),
    )
    batch = ImageBatch.stack([torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)] * 2)
    square = Polygons.of([[[0, 0, 20, 0, 20, 20, 0, 20]]])
    truth = Targets(boxes=TRUTH.boxes, labels=TRUTH.labels, masks=square)
    losses = model(batch, [truth, NOTHING])
    sum(losses.values()).backward()
    assert "loss_mask" in losses
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    with torch.inference_mode():
        for prediction in model.eval()(batch):
            assert prediction.detections.masks.shape == (len(prediction.detections), 28, 28)
