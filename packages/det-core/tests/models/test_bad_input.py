"""Every family takes what real data brings: nothing in it, next to nothing in it, and numbers that are none."""

import copy
import functools
from dataclasses import replace

import pytest
import torch
from det_core.backbones import FPN, ResNet
from det_core.models import (
    FCOSNMS,
    NMS,
    RPN,
    AnchorGenerator,
    CascadeROIHeads,
    DenseDetector,
    FastRCNNConvFCHead,
    FastRCNNPredictor,
    FCOSHead,
    FCOSTower,
    KeypointRCNNConvDeconvUpsampleHead,
    MaskRCNNConvUpsampleHead,
    ProposalNetwork,
    Res5Blocks,
    Res5ROIHeads,
    RetinaNetHead,
    StandardROIHeads,
    TowerLayers,
    faster_rcnn,
    keypoint_rcnn,
    mask_rcnn,
)
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Targets

CLASSES, KEYPOINTS = 3, 4
EAGER = Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.2))
BOX_HEAD = Factory(FastRCNNConvFCHead, fc_dim=16)
MASKS = Factory(MaskRCNNConvUpsampleHead, num_conv=1, conv_dim=8)
POINTS = Factory(KeypointRCNNConvDeconvUpsampleHead, conv_dims=[8], num_keypoints=KEYPOINTS)
STAGE = Factory(StandardROIHeads, box_head=BOX_HEAD, box_predictor=EAGER)
FINE = Factory(AnchorGenerator, sizes=[[32, 64]])


def network(*levels):
    return ResNet(18, stem_channels=8, res2_channels=8, **({"out_features": levels} if levels else {}))


def pyramid():
    return FPN(network(), out_channels=8)


FAMILIES = {
    "rpn": lambda: ProposalNetwork(pyramid()),
    "faster": lambda: faster_rcnn(pyramid(), CLASSES, roi_heads=STAGE),
    "mask": lambda: mask_rcnn(pyramid(), CLASSES, mask_head=MASKS, roi_heads=STAGE),
    "keypoint": lambda: keypoint_rcnn(pyramid(), CLASSES, keypoint_head=POINTS, roi_heads=STAGE),
    "cascade": lambda: mask_rcnn(
        pyramid(),
        CLASSES,
        mask_head=MASKS,
        roi_heads=Factory(CascadeROIHeads, box_head=BOX_HEAD, box_predictor=EAGER),
    ),
    "c4": lambda: mask_rcnn(
        network("res4"),
        CLASSES,
        mask_head=MASKS,
        proposal_generator=Factory(RPN, anchor_generator=FINE),
        roi_heads=Factory(Res5ROIHeads, res5=Res5Blocks(out_channels=16, width_per_group=1), box_predictor=EAGER),
    ),
    "retinanet": lambda: DenseDetector(
        pyramid(), Factory(RetinaNetHead, tower=TowerLayers(conv_dims=[-1]), prior_probability=0.3), CLASSES
    ),
    "fcos": lambda: DenseDetector(
        pyramid(),
        Factory(
            FCOSHead, tower=FCOSTower(conv_dims=[-1], norm=""), prior_probability=0.3, nms=FCOSNMS(score_threshold=0.1)
        ),
        CLASSES,
    ),
}
DETECTORS = [name for name in FAMILIES if name != "rpn"]


@functools.cache
def _built(family):
    torch.manual_seed(0)
    return FAMILIES[family]()


def build(family):
    return copy.deepcopy(_built(family))


def image(height, width, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=random, dtype=torch.uint8)


def truth(size, *boxes):
    corners = torch.tensor(boxes).reshape(-1, 4)
    points = torch.cat((corners[:, None, :2] + 0.5, torch.full((len(boxes), 1, 1), 2.0)), dim=2)
    rows, columns = (torch.arange(length) + 0.5 for length in size)
    x0, y0, x1, y1 = corners.T[:, :, None, None]
    inside = (columns > x0) & (columns < x1) & (rows[:, None] > y0) & (rows[:, None] < y1)
    return Targets(
        boxes=corners,
        labels=torch.arange(len(boxes)) % CLASSES,
        masks=inside,
        keypoints=points.expand(-1, KEYPOINTS, 3),
        semantic=torch.full(size, 255 if not boxes else 1),
    )


def learn(family, sizes, boxes):
    """The losses, after a backward pass that every trained parameter has a part in."""
    model = build(family).train()
    batch = ImageBatch.stack([image(*size, seed=i) for i, size in enumerate(sizes)])
    losses = model(batch, [truth(size, *own) for size, own in zip(sizes, boxes, strict=True)])
    assert all(value.isfinite() for value in losses.values()), losses
    torch.stack(list(losses.values())).sum().backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, gradient in trained.items() if gradient is None] == []
    assert all(gradient.isfinite().all() for gradient in trained.values())
    return losses


@pytest.mark.parametrize("family", FAMILIES)
def test_batch_without_objects_trains(family):
    losses = learn(family, [(64, 80), (50, 64)], [[], []])
    boxes = [value for name, value in losses.items() if name in ("loss_box_reg", "loss_mask", "loss_keypoint")]
    assert all(value.item() == 0 for value in boxes)


@pytest.mark.parametrize("family", FAMILIES)
def test_object_of_one_pixel_trains(family):
    learn(family, [(64, 80), (50, 64)], [[[7.0, 9.0, 8.0, 10.0]], []])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_image_smaller_than_stride_trains_and_predicts(family, size):
    learn(family, [size], [[[0.0, 0.0, 1.0, 1.0]]])
    [found] = build(family).eval()(ImageBatch.stack([image(*size)]))
    if found.detections is not None:
        assert found.detections.size == size
        assert (found.detections.boxes <= torch.tensor([size[1], size[0]] * 2)).all()


def nothing_scores(model):
    for module in model.modules():
        if isinstance(getattr(module, "nms", None), NMS) and "nms" in vars(module):
            module.nms = replace(module.nms, score_threshold=1.0)
    return model


@pytest.mark.parametrize("family", DETECTORS)
@torch.no_grad()
def test_images_without_detections_have_empty_fields(family):
    batch = ImageBatch.stack([image(64, 80), image(50, 64)])
    assert any(len(found.detections) for found in build(family).eval()(batch))
    for found, size in zip(nothing_scores(build(family)).eval()(batch), batch.sizes, strict=True):
        detections = found.detections
        assert (len(detections), detections.size) == (0, size)
        assert (detections.masks is not None) == (family in ("mask", "cascade", "c4"))
        assert (detections.keypoints is not None) == (family == "keypoint")


def spoilt(model, images):
    """The model, whose backbone says NaN of these images."""

    def spoil(module, inputs, output):
        for level in output.values():
            level[images] = float("nan")

    model.backbone.register_forward_hook(spoil)
    return model


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_nan_features_give_no_detections_in_that_image_only(family):
    batch = ImageBatch.stack([image(64, 80), image(64, 80, seed=1)])
    whole = build(family).eval()(batch)
    broken, sound = spoilt(build(family), [0]).eval()(batch)
    name = "proposals" if family == "rpn" else "detections"
    assert len(getattr(broken, name)) == 0
    assert len(getattr(sound, name)) == len(getattr(whole[1], name)) > 0
    torch.testing.assert_close(getattr(sound, name).boxes, getattr(whole[1], name).boxes)


@pytest.mark.parametrize("family", DETECTORS)
@torch.no_grad()
def test_batch_of_nan_gives_no_detections(family):
    found = spoilt(build(family), slice(None)).eval()(ImageBatch.stack([image(64, 80), image(50, 64)]))
    assert [len(each.detections) for each in found] == [0, 0]
