"""Whole two-stage detectors."""

import copy
import functools

import pytest
import torch
from det_core.backbones import FPN, ResNet, TorchvisionBackbone
from det_core.contracts import Model
from det_core.errors import StructureError
from det_core.models import (
    NMS,
    RCNN,
    RPN,
    AnchorSampler,
    FastRCNNPredictor,
    Normalize,
    ProposalNetwork,
    RegionSampler,
    StandardROIHeads,
    faster_rcnn,
)
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Targets


@functools.cache
def backbone():
    torch.manual_seed(0)
    return FPN(TorchvisionBackbone("mobilenet_v3_small", strides=[8, 16, 32]), out_channels=32)


def small(**options):
    torch.manual_seed(0)
    return faster_rcnn(copy.deepcopy(backbone()), num_classes=3, **options)


def eager(**options):
    """A detector that, untrained, still finds something."""
    return small(
        roi_heads=Factory(StandardROIHeads, box_predictor=Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.2)))
    )


def image(height=60, width=90, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=random, dtype=torch.uint8)


def truth(*boxes, **fields):
    return Targets(boxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.arange(len(boxes)) % 3, **fields)


BATCH = ImageBatch.stack([image(), image(50, 70, seed=1)])
OBJECTS = [truth([5.0, 5.0, 50.0, 40.0], [60.0, 10.0, 61.0, 11.0]), truth([0.0, 0.0, 70.0, 50.0])]


def same(a, b):
    return all(
        torch.equal(x.detections.boxes, y.detections.boxes) and torch.equal(x.detections.scores, y.detections.scores)
        for x, y in zip(a, b, strict=True)
    )


def test_forward_returns_losses_with_targets_and_predictions_without():
    model = eager()
    assert isinstance(model, Model)
    for mode in (True, False):
        model.train(mode)
        losses = model(BATCH, OBJECTS)
        assert set(losses) == {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg"}
        assert all(value.ndim == 0 and value.isfinite() for value in losses.values())
        predictions = model(BATCH)
        assert [p.detections.size for p in predictions] == [(60, 90), (50, 70)]


def test_detections_lie_within_image_best_first():
    with torch.inference_mode():
        for prediction, (height, width) in zip(eager().eval()(BATCH), BATCH.sizes, strict=True):
            found = prediction.detections
            assert 0 < len(found) <= 100
            assert (found.boxes >= 0).all()
            assert (found.boxes <= torch.tensor([width, height, width, height])).all()
            assert (found.scores.diff() <= 0).all()
            assert ((found.scores > 0.2) & (found.scores <= 1)).all()
            assert set(found.labels.tolist()) <= {0, 1, 2}


@torch.inference_mode()
def test_padding_content_does_not_change_output():
    model, pixels = eager().eval(), BATCH.pixels.clone()
    pixels[1, :, 50:] = 255
    pixels[1, :, :, 70:] = 99
    assert same(model(BATCH), model(ImageBatch(pixels=pixels, sizes=BATCH.sizes)))


@torch.inference_mode()
def test_uint8_and_float_images_give_same_output():
    model = eager().eval()
    assert same(model(BATCH), model(ImageBatch(pixels=BATCH.pixels.float(), sizes=BATCH.sizes)))


@torch.inference_mode()
def test_images_of_one_size_are_predicted_together_as_alone():
    model = eager().eval()
    images = [image(seed=3), image(seed=4)]
    together = model(ImageBatch.stack(images))
    for i, alone in enumerate(images):
        [single] = model(ImageBatch.stack([alone]))
        torch.testing.assert_close(together[i].detections.boxes, single.detections.boxes, atol=1e-2, rtol=0)
        torch.testing.assert_close(together[i].detections.scores, single.detections.scores, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "objects", [OBJECTS, [truth(), OBJECTS[1]], [truth(), truth()], [truth([3.0, 4.0, 4.0, 5.0]), truth()]]
)
def test_trained_parameters_have_gradients_for_any_number_of_objects(objects):
    model = small()
    losses = model(BATCH, objects)
    torch.stack(list(losses.values())).sum().backward()
    assert all(value.isfinite() for value in losses.values())
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (33, 7)])
def test_images_of_any_size_are_taken(size):
    model, batch = small(), ImageBatch.stack([image(*size)])
    assert model(batch)[0].detections.size == size
    assert all(value.isfinite() for value in model(batch, [truth([0.0, 0.0, 1.0, 1.0])]).values())


def test_crowds_are_not_used_for_training():
    model = small()
    crowded = truth(*OBJECTS[0].boxes.tolist(), [0.0, 0.0, 90.0, 60.0], crowd=torch.tensor([False, False, True]))
    results = []
    for first in (OBJECTS[0], crowded):
        torch.manual_seed(5)
        results.append(model(BATCH, [first, OBJECTS[1]]))
    assert results[0] == results[1]


def test_sampling_depends_on_seed():
    heads = Factory(StandardROIHeads, sampler=RegionSampler(batch_size_per_image=8))
    model = small(proposal_generator=Factory(RPN, sampler=AnchorSampler(batch_size_per_image=8)), roi_heads=heads)
    totals = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        totals.append(sum(model(BATCH, OBJECTS).values()).item())
    assert totals[0] == totals[1] != totals[2]


def test_nan_activations_give_no_detections_and_nan_loss():
    model = small()
    with torch.no_grad():
        model.proposal_generator.rpn_head.conv.bias.fill_(float("nan"))
        model.roi_heads.box_head.fc1.bias.fill_(float("inf"))
        model.roi_heads.box_head.fc2.bias.fill_(float("nan"))
    with torch.inference_mode():
        assert [len(p.detections) for p in model.eval()(BATCH)] == [0, 0]
    losses = model.train()(BATCH, OBJECTS)
    assert losses["loss_rpn_cls"].isnan()
    assert losses["loss_cls"].isnan()


def test_half_precision_trains_and_predicts():
    model = small()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(BATCH, OBJECTS)
        predictions = model(BATCH)
    assert all(value.dtype == torch.float32 and value.isfinite() for value in losses.values())
    assert all(p.detections.boxes.dtype == torch.float32 for p in predictions)


def test_it_is_built_without_values_and_copied_whole():
    with torch.device("meta"):
        model = faster_rcnn(FPN(TorchvisionBackbone("mobilenet_v3_small")), num_classes=3)
    assert all(parameter.is_meta for parameter in model.parameters())
    model = eager().eval()
    with torch.inference_mode():
        assert same(model(BATCH), copy.deepcopy(model)(BATCH))


def test_state_dict_has_neither_pixel_mean_nor_anchors():
    names = small().state_dict()
    assert not any("anchor_generator" in name or "normalise" in name for name in names)
    assert "proposal_generator.rpn_head.anchor_deltas.weight" in names


def test_as_many_targets_as_images_are_asked_for():
    with pytest.raises(StructureError, match="1 for 2"):
        small()(BATCH, OBJECTS[:1])


def test_pixels_are_normalized_in_weight_order_then_zero_padded():
    red = torch.zeros(3, 2, 3, dtype=torch.uint8)
    red[0] = 200
    batch = ImageBatch.stack([red, torch.zeros(3, 4, 5, dtype=torch.uint8)])
    for order, place in (("RGB", 0), ("BGR", 2)):
        pixels = Normalize(4, mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 4.0), channel_order=order)(batch)
        assert pixels.shape == (2, 3, 4, 8)
        expected = [-10.0, -10.0, -7.5]
        expected[place] += 200 / (1.0, 2.0, 4.0)[place]
        assert pixels[0, :, 1, 2].tolist() == expected
        assert not pixels[0, :, 2:].any()
        assert not pixels[0, :, :, 3:].any()
        assert pixels[1, :, 3, 4].tolist() == [-10.0, -10.0, -7.5]


def test_backbone_without_pyramid_is_supported():
    model = RCNN(ResNet(18, out_features=["res5"]), Factory(RPN), Factory(StandardROIHeads), num_classes=2)
    assert set(model(BATCH, OBJECTS)) == {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg"}
    assert len(model(BATCH)) == 2


def test_proposal_network_gives_class_agnostic_proposals():
    model = ProposalNetwork(copy.deepcopy(backbone()), num_classes=3)
    assert isinstance(model, Model)
    assert set(model(BATCH, OBJECTS)) == {"loss_rpn_cls", "loss_rpn_loc"}
    for prediction in model(BATCH):
        assert prediction.detections is None
        assert 0 < len(prediction.proposals) <= 1000
        assert (prediction.proposals.logits.diff() <= 0).all()


def test_object_without_area_is_not_used_for_training():
    torch.manual_seed(1)
    without = small().eval()(BATCH, OBJECTS)
    flat = truth([5.0, 5.0, 50.0, 40.0], [60.0, 10.0, 61.0, 11.0], [9.0, 9.0, 9.0, 30.0])
    torch.manual_seed(1)
    found = small().eval()(BATCH, [flat, OBJECTS[1]])
    assert {name: value.item() for name, value in found.items()} == {n: v.item() for n, v in without.items()}
