"""Learning from all branches, and detecting by one or by all."""

import pytest
import torch
from det_core.backbones import ResNet
from det_core.contracts import Model
from det_core.errors import ConfigError
from det_core.models import (
    NMS,
    RCNN,
    RPN,
    AnchorGenerator,
    AnchorSampler,
    FastRCNNPredictor,
    ProposalNMS,
    RegionSampler,
    Res5Blocks,
    Res5ROIHeads,
)
from det_core.recipes import Factory
from det_core.structures import Detections, ImageBatch, Proposals, Targets
from det_tridentnet.backbone import Branches, TridentResNet
from det_tridentnet.model import TridentRCNN

SMALL = {"stem_channels": 8, "res2_channels": 16, "width_per_group": 4}
EVERY = 1_000_000
"""Sample sizes beyond all candidates, so that nothing is drawn by chance."""
RPN_PART = Factory(
    RPN,
    anchor_generator=Factory(AnchorGenerator, sizes=[[16, 32, 64]]),
    sampler=AnchorSampler(batch_size_per_image=EVERY),
    nms=ProposalNMS(post_nms_topk_train=40, post_nms_topk_test=20),
)
HEADS = Factory(
    Res5ROIHeads,
    res5=Res5Blocks(out_channels=16, width_per_group=1),
    sampler=RegionSampler(batch_size_per_image=EVERY),
    box_predictor=Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.2, max_detections=30)),
)
RANGES = ((0.0, 24.0), (16.0, 48.0), (32.0, None))


def build(**options):
    torch.manual_seed(0)
    backbone = TridentResNet(50, **SMALL, **options.pop("backbone", {}))
    return TridentRCNN(backbone, 2, proposal_generator=RPN_PART, roi_heads=HEADS, **options)


def images():
    random = torch.Generator().manual_seed(0)
    return ImageBatch.stack([torch.randint(0, 256, (3, 64, w), generator=random, dtype=torch.uint8) for w in (80, 64)])


def truth(*boxes):
    return Targets(boxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.arange(len(boxes)) % 2)


OBJECTS = [truth([4.0, 4.0, 20.0, 20.0], [20.0, 10.0, 74.0, 60.0]), truth([8.0, 30.0, 40.0, 60.0])]


def test_fast_argument_decides_branches_of_inference():
    model = build()
    assert isinstance(model, Model)
    seen = []
    model.backbone.register_forward_hook(lambda _module, _inputs, output: seen.append(len(output["res4"])))
    model.eval()(images(), OBJECTS)
    model(images())
    model.train()(images())
    assert seen == [6, 2, 2]


def test_with_one_branch_it_is_faster_rcnn():
    torch.manual_seed(0)
    plain = RCNN(ResNet(50, **SMALL, out_features=["res4"]), RPN_PART, HEADS, 2)
    model = build(backbone={"branches": Branches([1], branch=0)})
    model.load_state_dict(plain.state_dict())
    for name, value in plain(images(), OBJECTS).items():
        torch.testing.assert_close(model(images(), OBJECTS)[name], value)
    with torch.no_grad():
        for a, b in zip(model.eval()(images()), plain.eval()(images()), strict=True):
            torch.testing.assert_close(a.detections.boxes, b.detections.boxes)


def test_losses_are_the_mean_over_three_equal_branches():
    alike = build(backbone={"branches": Branches([2, 2, 2])})
    one = build(backbone={"branches": Branches([2], branch=0)})
    for name, value in one(images(), OBJECTS).items():
        torch.testing.assert_close(alike(images(), OBJECTS)[name], value)


def test_branch_trains_on_objects_of_its_size_range():
    model = build(valid_ranges=RANGES)
    seen = []
    model.proposal_generator.register_forward_hook(lambda _module, inputs, _output: seen.extend(inputs[2]))
    losses = model(images(), OBJECTS)
    # Sizes are 16, 52 and 31: the first is for branches 0 and 1, the second for 2, the third for 1.
    crowds = [each.crowd.tolist() for each in seen]
    assert crowds == [[False, True], [True], [False, True], [False], [True, False], [True]]
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()


def test_proposals_and_detections_outside_size_range_are_dropped():
    model = build(valid_ranges=RANGES)
    boxes = torch.tensor([[0.0, 0.0, 16.0, 16.0], [0.0, 0.0, 24.0, 24.0], [0.0, 0.0, 100.0, 100.0]])
    found = model._within_ranges([Proposals(boxes=boxes, logits=torch.zeros(3))] * 6, (0, 1, 2))
    sides = [each.boxes[:, 2].tolist() for each in found]
    assert sides == [[16, 24], [16, 24], [16, 24], [16, 24], [100], [100]]


def test_merged_branches_keep_best_of_overlapping_detections():
    model = build(fast=False, nms=NMS(max_detections=2))
    box, near, far = [0.0, 0.0, 20.0, 20.0], [1.0, 0.0, 21.0, 20.0], [40.0, 40.0, 60.0, 60.0]
    one, other = (
        Detections(boxes=torch.tensor(boxes), labels=torch.tensor(labels), scores=torch.tensor(scores), size=(64, 64))
        for boxes, labels, scores in (([box, far], [0, 1], [0.6, 0.3]), ([near, far], [0, 0], [0.9, 0.2]))
    )
    merged = model._merge([one, other])
    assert merged.boxes.tolist() == [near, far]
    assert merged.labels.tolist() == [0, 1]


@torch.no_grad()
def test_all_branches_are_put_together_image_by_image():
    model = build(fast=False, nms=NMS(max_detections=10)).eval()
    together = model(images())
    assert [len(each.detections) for each in together] == [10, 10]
    for i, prediction in enumerate(together):
        [alone] = model(ImageBatch(pixels=images().pixels[i : i + 1], sizes=images().sizes[i : i + 1]))
        torch.testing.assert_close(alone.detections.boxes, prediction.detections.boxes, rtol=1e-3, atol=1e-2)
        torch.testing.assert_close(alone.detections.scores, prediction.detections.scores, rtol=1e-3, atol=1e-4)


def test_images_without_objects_have_losses():
    for ranges in (None, RANGES):
        losses = build(valid_ranges=ranges)(images(), [truth(), truth()])
        assert losses["loss_box_reg"] == losses["loss_rpn_loc"] == 0
        assert all(loss.isfinite() for loss in losses.values())


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"TridentRCNN.backbone: must have branches; got ResNet"):
        TridentRCNN(ResNet(50, **SMALL, out_features=["res4"]), 2)
    with pytest.raises(ConfigError, match=r"TridentRCNN.valid_ranges: must be one for each branch"):
        build(valid_ranges=RANGES[:2])
    for wrong in ((90.0, 30.0), (-1.0, None)):
        with pytest.raises(ConfigError, match=r"TridentRCNN.valid_ranges: must each be a minimum and a maximum size"):
            build(valid_ranges=(*RANGES[:2], wrong))
