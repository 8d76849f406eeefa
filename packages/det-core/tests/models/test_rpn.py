"""The region proposal network."""

import math
from dataclasses import replace

import pytest
import torch
from det_core.contracts import ProposalGenerator
from det_core.errors import ConfigError
from det_core.models import RPN, AnchorGenerator, AnchorSampler, BoxRegression, ProposalNMS, RPNHead
from det_core.models.cpu_acceleration import SampledRPNOutputs, accelerate, run_head_at_samples
from det_core.models.heads.rpn import RPNOutputs
from det_core.recipes import Factory
from det_core.structures import Targets

CHANNELS, STRIDES = {"p3": 4, "p4": 4}, {"p3": 8, "p4": 16}
ONE_SHAPE = Factory(AnchorGenerator, aspect_ratios=[[1.0]], offset=0.5)


def truth(*boxes):
    return Targets(boxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.zeros(len(boxes), dtype=torch.int64))


def features(height=64, width=96, images=1):
    return {name: torch.randn(images, 4, height // stride, width // stride) for name, stride in STRIDES.items()}


def grid_rpn(**options):
    """One level of 2 x 2 square anchors of 16 pixels, which tile an image of 32 x 32."""
    shape = Factory(AnchorGenerator, sizes=[[16]], aspect_ratios=[[1.0]], offset=0.5)
    return RPN({"p4": 4}, {"p4": 16}, anchor_generator=shape, **options)


def outputs(logits, offsets=None):
    logits = torch.tensor([logits])
    return RPNOutputs([logits], [torch.zeros(1, logits.shape[1], 4) if offsets is None else offsets])


def grid_anchors(rpn):
    return rpn.anchor_generator([torch.zeros(1, 4, 2, 2)])


def test_it_is_a_proposal_generator_with_the_published_names():
    rpn = RPN(CHANNELS, STRIDES)
    assert isinstance(rpn, ProposalGenerator)
    parts = ("conv", "objectness_logits", "anchor_deltas")
    assert set(rpn.state_dict()) == {f"rpn_head.{part}.{kind}" for part in parts for kind in ("weight", "bias")}


def test_several_convolutions_are_numbered():
    head = RPNHead(4, 3, conv_dims=[8, -1])
    assert [tuple(head.state_dict()[f"conv.conv{i}.weight"].shape) for i in (0, 1)] == [(8, 4, 3, 3), (8, 8, 3, 3)]
    assert head([torch.zeros(1, 4, 2, 5)]).offsets[0].shape == (1, 30, 4)


def test_head_outputs_are_in_anchor_order():
    head = RPNHead(4, 2)
    x = torch.randn(1, 4, 3, 5)
    logits, offsets = (level[0] for level in head([x]))
    raw = head.anchor_deltas(head.conv(x))  # channels: anchor 0's four, then anchor 1's
    torch.testing.assert_close(logits[0, 2 * (1 * 5 + 3) + 1], head.objectness_logits(head.conv(x))[0, 1, 1, 3])
    torch.testing.assert_close(offsets[0, 2 * (1 * 5 + 3) + 1], raw[0, 4:, 1, 3])


def test_proposals_come_by_falling_objectness_moved_and_clipped():
    rpn = grid_rpn(nms=ProposalNMS(iou_threshold=0.9))
    offsets = torch.zeros(1, 4, 4)
    offsets[0, 0, 0] = -0.5  # anchor 0 moves half its width to the left, and out of the image
    [found] = rpn.propose(grid_anchors(rpn), outputs([1.0, 3.0, -2.0, 0.0], offsets), [(30, 32)], training=False)
    assert found.logits.tolist() == [3.0, 1.0, 0.0, -2.0]
    assert found.boxes.tolist() == [[16, 0, 32, 16], [0, 0, 8, 16], [16, 16, 32, 30], [0, 16, 16, 30]]


def test_pre_nms_topk_per_level_post_nms_per_image():
    rpn = RPN(CHANNELS, STRIDES, anchor_generator=ONE_SHAPE, nms=ProposalNMS(pre_nms_topk_test=3, iou_threshold=1.0))
    assert [len(p) for p in rpn(features(images=2), [(64, 96)] * 2)[0]] == [6, 6]
    rpn.nms = replace(rpn.nms, post_nms_topk_test=4)
    assert [len(p) for p in rpn(features(images=2), [(64, 96)] * 2)[0]] == [4, 4]


def test_rpn_uses_train_topk_when_targets_given():
    rpn = RPN(
        CHANNELS,
        STRIDES,
        anchor_generator=ONE_SHAPE,
        nms=ProposalNMS(post_nms_topk_train=2, post_nms_topk_test=5, iou_threshold=1),
    )
    for mode in (True, False):
        rpn.train(mode)
        assert len(rpn(features(), [(64, 96)], [truth()])[0][0]) == 2
        assert len(rpn(features(), [(64, 96)])[0][0]) == 5


def test_suppression_stays_within_a_level():
    strides = {"a": 16, "b": 16}
    shape = Factory(AnchorGenerator, sizes=[[16]], aspect_ratios=[[1.0]])
    rpn = RPN({"a": 4, "b": 4}, strides, anchor_generator=shape, nms=ProposalNMS(iou_threshold=0.5))
    [found], _ = rpn({name: torch.zeros(1, 4, 2, 2) for name in strides}, [(32, 32)])
    assert len(found) == 8  # equal boxes, two by two


def test_small_and_infinite_proposals_are_dropped():
    rpn = grid_rpn(nms=ProposalNMS(min_size=14))
    offsets = torch.zeros(1, 4, 4)
    offsets[0, 2, 0] = float("nan")
    [found] = rpn.propose(
        grid_anchors(rpn), outputs([1.0, float("inf"), 5.0, 0.0], offsets), [(32, 30)], training=False
    )
    assert found.boxes.tolist() == [[0, 0, 16, 16]]  # the last anchor is cut to 14 pixels, which is not more than 14


@pytest.mark.parametrize("conv_dims", [[-1], [8, -1, 5]])
def test_head_at_sampled_anchors_equals_full_head(conv_dims):
    head, levels = RPNHead(4, 3, conv_dims=conv_dims), list(features(images=2).values())
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    outputs = head(levels)
    every = sum(logits.shape[1] for logits in outputs.logits)
    image, anchor = torch.cartesian_prod(torch.arange(2), torch.arange(every))[torch.randperm(2 * every)].unbind(1)
    sampled = run_head_at_samples(head, levels, 0)
    assert isinstance(sampled, SampledRPNOutputs)
    logits, offsets = sampled.of_anchors(image, anchor)
    torch.testing.assert_close(logits, torch.cat(outputs.logits, dim=1)[image, anchor])
    torch.testing.assert_close(offsets, torch.cat(outputs.offsets, dim=1)[image, anchor])


@pytest.mark.parametrize("conv_dims", [[-1], [-1, 6]])
def test_gradient_of_sampled_head_equals_full_gradient(conv_dims):
    torch.manual_seed(0)
    head = Factory(RPNHead, conv_dims=conv_dims)
    sampler = AnchorSampler(batch_size_per_image=4)
    sparse = accelerate(RPN(CHANNELS, STRIDES, head=head, sampler=sampler))
    dense = RPN(CHANNELS, STRIDES, head=head, sampler=sampler)
    dense.load_state_dict(sparse.state_dict())
    objects = [truth([3.0, 3.0, 50.0, 50.0]), truth()]
    learnt = []
    for rpn in (sparse, dense):
        torch.manual_seed(1)
        levels = {name: level.requires_grad_() for name, level in features(images=2).items()}
        found, losses = rpn(levels, [(64, 96)] * 2, objects)
        sum(losses.values()).backward()
        gradients = [each.grad for each in (*levels.values(), *rpn.parameters())]
        learnt.append((found[0].boxes, *losses.values(), *gradients))
    assert isinstance(sparse.run_head(sparse.rpn_head, list(levels.values()), 4), SampledRPNOutputs)
    assert learnt[0][2] > 0
    torch.testing.assert_close(*learnt)


@pytest.mark.parametrize(("sampled", "asked"), [(8, True), (10_000, False)])
def test_sampled_head_is_used_for_few_anchors_only(sampled, asked, monkeypatch):
    calls, at = [], SampledRPNOutputs.of_anchors
    monkeypatch.setattr(SampledRPNOutputs, "of_anchors", lambda *given: calls.append(1) or at(*given))
    rpn = accelerate(RPN(CHANNELS, STRIDES, sampler=AnchorSampler(batch_size_per_image=sampled)))
    _, losses = rpn(features(images=2), [(64, 96)] * 2, [truth([3.0, 3.0, 50.0, 50.0]), truth()])
    sum(losses.values()).backward()
    assert bool(calls) == asked
    assert rpn.rpn_head.conv.weight.grad.any()


def test_class_loss_is_sum_over_sample_by_batch_size():
    rpn = grid_rpn(sampler=AnchorSampler(batch_size_per_image=100))
    # Anchor 0 is the object; the other three do not touch it.
    losses = rpn.losses(grid_anchors(rpn), outputs([0.0, 0.0, 0.0, 0.0]), [(32, 32)], [truth([0.0, 0.0, 16.0, 16.0])])
    assert losses["loss_rpn_cls"].item() == pytest.approx(4 * math.log(2) / 100)
    assert losses["loss_rpn_loc"].item() == 0.0


def test_box_loss_is_over_foreground_by_batch_size():
    rpn = grid_rpn(
        sampler=AnchorSampler(batch_size_per_image=10),
        box_weights=(2.0, 1.0, 1.0, 1.0),
        loss_weight=3.0,
        box_loss_weight=0.5,
    )
    # Anchor 3 has an overlap of 12 / 20 with the object: foreground as its best. Half a width off, weighted by 2.
    moved = truth([20.0, 16.0, 36.0, 32.0])
    losses = rpn.losses(grid_anchors(rpn), outputs([0.0, 0.0, 0.0, 0.0]), [(32, 32)], [moved])
    assert losses["loss_rpn_loc"].item() == pytest.approx(2.0 * 4 / 16 * 3.0 * 0.5 / 10)


def test_anchors_between_thresholds_are_ignored_unless_best():
    rpn = grid_rpn(sampler=AnchorSampler(batch_size_per_image=10))
    # The first object is anchor 0; the second overlaps anchor 1 by 256 / 480 and anchor 3 by 224 / 512.
    objects = truth([0.0, 0.0, 16.0, 16.0], [16.0, 0.0, 32.0, 30.0])
    learnt = rpn.losses(grid_anchors(rpn), outputs([0.0, 0.0, 0.0, 0.0]), [(32, 32)], [objects])
    assert learnt["loss_rpn_cls"].item() == pytest.approx(3 * math.log(2) / 10)
    rpn.sampler._matcher.keep_best = False
    learnt = rpn.losses(grid_anchors(rpn), outputs([0.0, 0.0, 0.0, 0.0]), [(32, 32)], [objects])
    assert learnt["loss_rpn_cls"].item() == pytest.approx(2 * math.log(2) / 10)


def test_anchors_that_reach_out_too_far_are_left_out():
    rpn = grid_rpn(sampler=AnchorSampler(batch_size_per_image=10, boundary_threshold=1.0))
    losses = rpn.losses(grid_anchors(rpn), outputs([0.0, 0.0, 0.0, 0.0]), [(31, 20)], [truth()])
    assert losses["loss_rpn_cls"].item() == pytest.approx(1 * math.log(2) / 10)  # 16 < 20 + 1, and 32 < 31 + 1 is not


def test_anchors_of_crowds_are_ignored():
    rpn, whole = grid_rpn(), outputs([0.0, 0.0, 0.0, 0.0])
    two = truth([0.0, 0.0, 16.0, 16.0], [16.0, 16.0, 32.0, 32.0])
    crowded = replace(two, crowd=torch.tensor([False, True]))
    anchors = grid_anchors(rpn)
    every, three = (rpn.losses(anchors, whole, [(32, 32)], [each])["loss_rpn_cls"].item() for each in (two, crowded))
    assert three == pytest.approx(every * 3 / 4)


def test_sample_keeps_size_and_positive_fraction():
    rpn = RPN(CHANNELS, STRIDES, sampler=AnchorSampler(batch_size_per_image=8))
    torch.nn.init.zeros_(rpn.rpn_head.objectness_logits.weight)
    _, losses = rpn(features(images=2), [(64, 96)] * 2, [truth(), truth([0.0, 0.0, 60.0, 60.0])])
    assert losses["loss_rpn_cls"].item() == pytest.approx(math.log(2), rel=1e-5)


@pytest.mark.parametrize("kind", ["smooth_l1", "giou", "diou", "ciou"])
def test_images_without_objects_have_zero_differentiable_box_loss(kind):
    rpn = RPN(CHANNELS, STRIDES, box_regression=BoxRegression(loss=kind))
    _, losses = rpn(features(images=2), [(64, 96)] * 2, [truth(), truth()])
    assert losses["loss_rpn_loc"].item() == 0.0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in rpn.parameters())


def test_object_far_outside_matches_all_anchors_as_published():
    rpn = grid_rpn(sampler=AnchorSampler(batch_size_per_image=8))  # of which half may be foreground: all four anchors
    # Anchors of side 16 around 8 and 24; an object of the same size around (908, 908).
    odd = truth([900.0, 900.0, 916.0, 916.0])
    losses = rpn.losses(grid_anchors(rpn), outputs([0.0, 0.0, 0.0, 0.0]), [(32, 32)], [odd])
    assert losses["loss_rpn_loc"].item() == pytest.approx(4 * (900 + 884) / 16 / 8)
    assert losses["loss_rpn_cls"].item() == pytest.approx(4 * math.log(2) / 8)


def test_proposals_carry_no_gradient():
    rpn = RPN(CHANNELS, STRIDES)
    [found], _ = rpn(features(), [(64, 96)], [truth([3.0, 3.0, 50.0, 50.0])])
    assert not found.boxes.requires_grad
    assert not found.logits.requires_grad


def test_levels_can_be_chosen():
    rpn = RPN({**CHANNELS, "p5": 7}, {**STRIDES, "p5": 32}, in_features=["p4"])
    assert rpn.rpn_head.conv.weight.shape[1] == 4
    assert len(rpn(features(), [(64, 96)])[0][0]) <= 4 * 6 * 3


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"in_features": ["p9"]}, "p9"),
        ({"anchor_generator": Factory(AnchorGenerator, sizes=[[8], [16, 32]])}, "anchors"),
        ({"head": Factory(RPNHead, conv_dims=[0])}, "conv_dims"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, named):
    with pytest.raises(ConfigError, match=named):
        RPN(CHANNELS, STRIDES, **options)


def test_levels_of_different_width_are_refused():
    with pytest.raises(ConfigError, match="as many channels"):
        RPN({"a": 4, "b": 8}, {"a": 8, "b": 16})
