"""Detectors of rotated boxes: Faster R-CNN, given turned anchors, five offsets and the pooling for them."""

import copy
import functools
import math
from dataclasses import replace

import pytest
import torch
from det_core.backbones import FPN, TorchvisionBackbone
from det_core.errors import ConfigError, StructureError
from det_core.models import (
    NMS,
    RPN,
    AnchorGenerator,
    AnchorSampler,
    BoxRegression,
    CascadeROIHeads,
    FastRCNNPredictor,
    ProposalNMS,
    RegionSampler,
    Res5ROIHeads,
    RetinaNetHead,
    StandardROIHeads,
    faster_rcnn,
)
from det_core.models.heads.rpn import RPNOutputs
from det_core.ops.roi import ROIPooler
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Proposals, Targets

ANGLES = Factory(AnchorGenerator, angles=[[-60, -30, 0, 30, 60, 90]])
PREDICTOR = Factory(FastRCNNPredictor, box_weights=(10.0, 10.0, 5.0, 5.0, 1.0), nms=NMS(score_threshold=0.2))


def truth(*boxes):
    return Targets(boxes=torch.tensor(boxes).reshape(-1, 5), labels=torch.arange(len(boxes)) % 3)


def grid_rpn(**options):
    """One level of 2 x 2 anchors of 16 x 16 pixels at 0 and 45 degrees, on an image of 32 x 32."""
    shape = Factory(AnchorGenerator, sizes=[[16]], aspect_ratios=[[1.0]], angles=[[0, 45]], offset=0.5)
    return RPN({"p4": 4}, {"p4": 16}, anchor_generator=shape, **{"box_weights": (1.0,) * 5, **options})


def run(rpn, objects, offsets=None):
    """The losses on one image, for a head that knows nothing."""
    anchors = rpn.anchor_generator([torch.zeros(1, 4, 2, 2)])
    outputs = RPNOutputs([torch.zeros(1, 8)], [torch.zeros(1, 8, 5) if offsets is None else offsets])
    return rpn.losses(anchors, outputs, [(32, 32)], [objects])


@functools.cache
def backbone():
    torch.manual_seed(0)
    return FPN(TorchvisionBackbone("mobilenet_v3_small", strides=[8, 16, 32]), out_channels=32)


def detector():
    """One that, untrained, still finds something."""
    torch.manual_seed(0)
    return faster_rcnn(
        copy.deepcopy(backbone()),
        num_classes=3,
        proposal_generator=Factory(
            RPN,
            anchor_generator=ANGLES,
            box_weights=(1.0,) * 5,
            sampler=AnchorSampler(batch_size_per_image=10_000),
            nms=ProposalNMS(post_nms_topk_train=100),
        ),
        roi_heads=Factory(
            StandardROIHeads,
            pooler=Factory(ROIPooler, resolution=7, pooling="ROIAlignRotated"),
            box_predictor=PREDICTOR,
            sampler=RegionSampler(batch_size_per_image=10_000),
        ),
    )


def image(height=60, width=90, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=random, dtype=torch.uint8)


IMAGES = [image(), image(50, 70, seed=1)]
OBJECTS = [
    truth([30.0, 30.0, 40.0, 12.0, 30.0], [60.0, 20.0, 10.0, 30.0, -75.0]),
    truth([35.0, 25.0, 60.0, 20.0, 170.0]),
]


def test_anchor_of_another_angle_is_no_match():
    # The object is the first cell's anchor at 45 degrees; it overlaps the upright one of that cell by 1 / sqrt(2).
    losses = run(
        grid_rpn(sampler=AnchorSampler(batch_size_per_image=100, iou_thresholds=(0.3, 0.8))),
        truth([8.0, 8.0, 16.0, 16.0, 45.0]),
    )
    # Of the eight anchors the upright one of that cell is left out.
    assert losses["loss_rpn_cls"].item() == pytest.approx(7 * math.log(2) / 100)
    assert losses["loss_rpn_loc"].item() == 0.0


def test_angle_offset_is_shortest_rotation_in_radians():
    # 10 degrees from the anchor at 45, written as a full turn more; a square would also fit at 90 degrees less.
    wide = grid_rpn(
        sampler=AnchorSampler(batch_size_per_image=1, positive_fraction=1.0, iou_thresholds=(0.3, 0.85)),
        box_weights=(1.0, 1.0, 1.0, 1.0, 3.0),
    )
    loss = run(wide, truth([8.0, 8.0, 16.0, 16.0, 55.0 + 360.0]))["loss_rpn_loc"]
    assert loss.item() == pytest.approx(3 * math.radians(10), rel=1e-4)
    offsets = torch.zeros(1, 8, 5)
    offsets[0, 1, 4] = 3 * math.radians(10)  # of anchor 1, the turned one of the first cell
    assert run(wide, truth([8.0, 8.0, 16.0, 16.0, 55.0]), offsets)["loss_rpn_loc"].item() == pytest.approx(0, abs=1e-5)


def test_proposals_are_rotated_and_only_level_ones_clipped():
    rpn = grid_rpn(nms=ProposalNMS(iou_threshold=1.0))
    offsets = torch.zeros(1, 8, 5)
    offsets[0, 0] = torch.tensor([-0.5, 0, 0, 0, 0])  # half a width to the left, out of the image
    offsets[0, 1] = torch.tensor([-0.5, 0, 0, 0, math.pi])  # the same, from 45 degrees by half a turn
    logits = torch.tensor([[2.0, 1.0, *[-1.0] * 6]])
    anchors = rpn.anchor_generator([torch.zeros(1, 4, 2, 2)])
    [found] = rpn.propose(anchors, RPNOutputs([logits], [offsets]), [(32, 32)], training=False)
    torch.testing.assert_close(found.boxes[:2], torch.tensor([[4.0, 8, 8, 16, 0], [0, 8, 16, 16, -135]]))
    assert len(found) == 8


def test_suppression_goes_by_the_overlap_of_the_turned_boxes():
    # An upright and a turned square share 1 / sqrt(2) of their union.
    rpn = grid_rpn(nms=ProposalNMS(iou_threshold=0.7))
    logits = torch.arange(8.0)[None]
    anchors = rpn.anchor_generator([torch.zeros(1, 4, 2, 2)])
    [found] = rpn.propose(anchors, RPNOutputs([logits], [torch.zeros(1, 8, 5)]), [(32, 32)], training=False)
    assert found.boxes[:, 4].tolist() == [45] * 4
    rpn.nms = replace(rpn.nms, iou_threshold=0.71)
    [found] = rpn.propose(anchors, RPNOutputs([logits], [torch.zeros(1, 8, 5)]), [(32, 32)], training=False)
    assert len(found) == 8


def test_rotated_anchors_beyond_boundary_threshold_are_ignored():
    # A square of 16 at 45 degrees reaches 11.3 pixels from its middle, 3.3 out of the image.
    losses = run(grid_rpn(sampler=AnchorSampler(batch_size_per_image=100, boundary_threshold=1.0)), truth())
    assert losses["loss_rpn_cls"].item() == pytest.approx(4 * math.log(2) / 100)


def test_each_class_has_five_offsets():
    predictor = FastRCNNPredictor(4, 3, box_weights=(1.0,) * 5)
    assert predictor.bbox_pred.out_features == 15
    assert FastRCNNPredictor(4, 3, box_weights=(1.0,) * 5, class_agnostic=True).bbox_pred.out_features == 5
    logits, offsets = torch.zeros(1, 4), torch.zeros(1, 3, 5)
    logits[0, 1] = 9.0
    offsets[0, 1, 4] = math.radians(200)
    region = torch.tensor([[20.0, 20.0, 10.0, 4.0, 30.0]])
    [found] = predictor.detect((logits, offsets), [region], [(40, 40)])
    torch.testing.assert_close(found.boxes, torch.tensor([[20.0, 20.0, 10.0, 4.0, -130.0]]))  # 230 - 360
    assert found.labels.tolist() == [1]
    loss = predictor.losses((logits, offsets), region, torch.tensor([1]), found.boxes + 360 * torch.eye(5)[4])
    assert loss["loss_box_reg"].item() == pytest.approx(2 * math.pi, rel=1e-5)  # of 200 degrees, 160 the other way


def test_rotated_region_is_pooled_along_its_sides():
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)  # grows along x
    pooler = ROIPooler([4], 2, "ROIAlignRotated", sampling_ratio=1)
    level, turned = pooler([ramp], [torch.tensor([[32.0, 32.0, 16.0, 16.0, 0.0], [32.0, 32.0, 16.0, 16.0, 90.0]])])
    torch.testing.assert_close(level[0], torch.tensor([[6.5, 8.5], [6.5, 8.5]]))
    # At 90 degrees w runs upwards and h to the right.
    torch.testing.assert_close(turned[0], torch.tensor([[6.5, 6.5], [8.5, 8.5]]))
    assert pooler([ramp], [torch.zeros(0, 5)]).shape == (0, 1, 2, 2)


def test_level_of_rotated_region_is_by_area():
    pooler = ROIPooler([4, 8], 1, "ROIAlignRotated", sampling_ratio=1)
    levels = [torch.full((1, 1, 128, 128), 4.0), torch.full((1, 1, 64, 64), 8.0)]
    regions = torch.tensor([[200.0, 200.0, 10.0, 1300.0, 60.0], [200.0, 200.0, 100.0, 100.0, 60.0]])  # 112 ** 2 = 12544
    assert pooler(levels, [regions]).flatten().tolist() == [8.0, 4.0]


def test_targets_make_losses_and_their_absence_makes_rotated_detections():
    model = detector().train()
    losses = model(ImageBatch.stack(IMAGES), OBJECTS)
    assert set(losses) == {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg"}
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.roi_heads.parameters())
    for prediction in model.eval()(ImageBatch.stack(IMAGES)):
        found = prediction.detections
        assert found.boxes.shape == (len(found), 5)
        assert len(found) > 0
        assert ((found.boxes[:, 4] >= -180) & (found.boxes[:, 4] < 180)).all()
        assert (found.scores.diff() <= 0).all()


def test_image_without_objects_has_zero_box_losses():
    losses = detector()(ImageBatch.stack(IMAGES[:1]), [truth()])
    assert (losses["loss_rpn_loc"].item(), losses["loss_box_reg"].item()) == (0.0, 0.0)
    assert all(value.isfinite() for value in losses.values())


def test_cascade_refines_rotated_boxes():
    weights = [[10.0, 10.0, 5.0, 5.0, 1.0], [20.0, 20.0, 10.0, 10.0, 2.0], [30.0, 30.0, 15.0, 15.0, 3.0]]
    heads = CascadeROIHeads(
        {"p4": 4},
        {"p4": 16},
        3,
        pooler=Factory(ROIPooler, resolution=7, pooling="ROIAlignRotated"),
        box_weights=weights,
    )
    features, sizes = {"p4": torch.randn(1, 4, 8, 8)}, [(128, 128)]
    objects = truth([60.0, 60.0, 50.0, 20.0, 35.0])
    near = objects.boxes + torch.tensor([[3.0, -2.0, 4.0, 1.0, 5.0]])
    proposals = [Proposals(boxes=near, logits=torch.zeros(1))]
    losses = heads.losses(features, proposals, [objects], sizes)
    # Its overlap with the object passes 0.7, so each stage learns from it and from the object itself or what it became.
    assert all(losses[f"loss_box_reg_stage{stage}"] > 0 for stage in range(3))
    sum(losses.values()).backward()
    [found] = heads.predict(features, proposals, sizes)
    assert found.boxes.shape[1] == 5


@torch.no_grad()
def test_result_is_independent_of_object_order_and_full_rotations():
    model, batch = detector(), ImageBatch.stack(IMAGES)
    expected = model(batch, OBJECTS)
    others = [replace(one, boxes=one.boxes + 360 * torch.eye(5)[4])[torch.arange(len(one)).flip(0)] for one in OBJECTS]
    for name, value in model(batch, others).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-5)


@torch.inference_mode()
def test_images_together_are_detected_as_alone():
    model = detector().eval()
    together = model(ImageBatch.stack(IMAGES))
    for one, seen in zip(IMAGES, together, strict=True):
        padded = ImageBatch(pixels=ImageBatch.stack([one, IMAGES[0]]).pixels[:1], sizes=(tuple(one.shape[1:]),))
        [alone] = model(padded)
        torch.testing.assert_close(alone.detections.boxes, seen.detections.boxes, rtol=1e-3, atol=1e-2)
        torch.testing.assert_close(alone.detections.scores, seen.detections.scores, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: RPN({"p4": 4}, {"p4": 16}, anchor_generator=ANGLES), "RPN.box_weights: must be one for each number"),
        (lambda: RPN({"p4": 4}, {"p4": 16}, box_weights=(1.0,) * 5), "RPN.box_weights: must be one for each number"),
        (
            lambda: grid_rpn(box_regression=BoxRegression(loss="giou")),
            "RPN.box_loss: must be 'smooth_l1' for rotated boxes",
        ),
        (lambda: FastRCNNPredictor(4, 3, box_weights=(1.0,) * 3), "FastRCNNPredictor.box_weights: must be 4 numbers"),
        (lambda: StandardROIHeads({"p4": 4}, {"p4": 16}, 3, box_predictor=PREDICTOR), "pooling: ROIAlignRotated"),
        (
            lambda: StandardROIHeads(
                {"p4": 4}, {"p4": 16}, 3, pooler=Factory(ROIPooler, resolution=7, pooling="ROIAlignRotated")
            ),
            "five box_weights",
        ),
        (
            lambda: CascadeROIHeads(
                {"p4": 4}, {"p4": 16}, 3, pooler=Factory(ROIPooler, resolution=7, pooling="ROIAlignRotated")
            ),
            "CascadeROIHeads",
        ),
        (
            lambda: Res5ROIHeads(
                {"c4": 4}, {"c4": 16}, 3, pooler=Factory(ROIPooler, resolution=14, pooling="ROIAlignRotated")
            ),
            "Res5ROIHeads",
        ),
        (lambda: RetinaNetHead({"p4": 4}, {"p4": 16}, 3, anchor_generator=ANGLES), "must generate upright anchors"),
    ],
)
def test_parts_for_different_boxes_are_refused(make, named):
    with pytest.raises(ConfigError, match=named):
        make()


def test_upright_targets_are_refused_with_fix():
    upright = Targets(boxes=torch.tensor([[0.0, 0.0, 9.0, 9.0]]), labels=torch.tensor([0]))
    with pytest.raises(StructureError, match="rotated: true"):
        run(grid_rpn(), upright)
    heads = StandardROIHeads(
        {"p4": 4},
        {"p4": 16},
        3,
        pooler=Factory(ROIPooler, resolution=7, pooling="ROIAlignRotated"),
        box_predictor=PREDICTOR,
    )
    regions = [Proposals(boxes=torch.zeros(0, 5), logits=torch.zeros(0))]
    with pytest.raises(StructureError, match="rotated: true"):
        heads.losses({"p4": torch.zeros(1, 4, 4, 4)}, regions, [upright], [(32, 32)])
