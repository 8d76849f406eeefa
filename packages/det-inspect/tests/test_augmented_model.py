"""Several views of an image put together."""

from dataclasses import replace

import pytest
import torch
from det_core.backbones import FPN, ResNet
from det_core.errors import ConfigError, StructureError
from det_core.models import (
    NMS,
    CascadeROIHeads,
    DenseDetector,
    DenseNMS,
    FastRCNNConvFCHead,
    FastRCNNPredictor,
    KeypointRCNNConvDeconvUpsampleHead,
    MaskRCNNConvUpsampleHead,
    ProposalNetwork,
    Res5Blocks,
    Res5ROIHeads,
    RetinaNetHead,
    StandardROIHeads,
    TowerLayers,
    keypoint_rcnn,
    mask_rcnn,
)
from det_core.recipes import Factory
from det_core.structures import Detections, ImageBatch, MaskGrids, Prediction, Proposals
from det_inspect.predictions import AugmentedDetector
from torch import nn

IMAGE = torch.randint(0, 256, (3, 64, 96), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
PAIRS = [(0, 1)]
OPTIONS = {
    "box_head": Factory(FastRCNNConvFCHead, fc_dim=16),
    "box_predictor": Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.2, max_detections=20)),
}
MASKS = Factory(MaskRCNNConvUpsampleHead, num_conv=1, conv_dim=8)


def pyramid():
    return FPN(ResNet(18, stem_channels=8, res2_channels=8), out_channels=8)


def build(family):
    torch.manual_seed(0)
    if family == "mask":
        return mask_rcnn(pyramid(), 3, mask_head=MASKS, roi_heads=Factory(StandardROIHeads, **OPTIONS)).eval()
    if family == "cascade":
        return mask_rcnn(pyramid(), 3, mask_head=MASKS, roi_heads=Factory(CascadeROIHeads, **OPTIONS)).eval()
    if family == "c4":
        network = ResNet(18, stem_channels=8, res2_channels=8, out_features=["res4"])
        stage = Factory(
            Res5ROIHeads, res5=Res5Blocks(out_channels=16, width_per_group=1), box_predictor=OPTIONS["box_predictor"]
        )
        return mask_rcnn(network, 3, mask_head=MASKS, roi_heads=stage).eval()
    if family == "keypoint":
        head = Factory(KeypointRCNNConvDeconvUpsampleHead, conv_dims=[8], num_keypoints=3)
        return keypoint_rcnn(pyramid(), 3, keypoint_head=head, roi_heads=Factory(StandardROIHeads, **OPTIONS)).eval()
    return DenseDetector(
        pyramid(),
        Factory(
            RetinaNetHead, tower=TowerLayers(conv_dims=[-1]), prior_probability=0.3, nms=DenseNMS(max_detections=20)
        ),
        3,
    ).eval()


def see(model, image):
    [prediction] = model(ImageBatch.stack([image]))
    return prediction.detections


class Known(nn.Module):
    """Finds what it is told to find, whatever it is shown: the detections of each call in turn."""

    num_classes, nms = 2, NMS()

    def __init__(self, *calls):
        super().__init__()
        self.calls, self.sizes = list(calls), []

    def forward(self, batch, targets=None):
        self.sizes.append(batch.sizes[0])
        boxes, labels, scores = self.calls[len(self.sizes) - 1]
        found = Detections(
            boxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.tensor(labels), scores=torch.tensor(scores),
            size=batch.sizes[0],
        )  # fmt: skip
        return [Prediction(detections=found)]


class Drawing(Known):
    """Also draws each object: its left half, in a window of twice the box's size."""

    def forward(self, batch, targets=None):
        [prediction] = super().forward(batch)
        found = prediction.detections
        middles, sides = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2, found.boxes[:, 2:] - found.boxes[:, :2]
        windows = torch.cat((middles - sides, middles + sides), dim=1)
        grid = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        return [Prediction(detections=replace(found, masks=MaskGrids(grids=(grid,) * len(found), windows=windows)))]


def test_augmented_dense_masks_are_mapped_back_with_boxes():
    model = Drawing(([[10.0, 20.0, 30.0, 40.0]], [0], [0.6]), ([[20.0, 10.0, 40.0, 30.0]], [0], [0.9]))
    found = see(AugmentedDetector(model, sizes=[64]), IMAGE)
    assert found.boxes.tolist() == [[56, 10, 76, 30], [10, 20, 30, 40]]
    assert found.masks.windows.tolist() == [[46, 0, 86, 40], [0, 10, 40, 50]]
    mirrored, plain = found.masks.grids
    assert mirrored.tolist() == [[0, 1], [0, 1]]
    assert plain.tolist() == [[1, 0], [1, 0]]


def test_augmented_boxes_of_all_views_are_merged_by_nms():
    model = Known(
        ([[10.0, 20.0, 30.0, 40.0]], [0], [0.6]),  # 64 x 96 as it is
        ([[66.0, 20.0, 86.0, 40.0]], [0], [0.9]),  # mirrored: the same box, surer
        ([[20.0, 40.0, 60.0, 80.0], [0.0, 0.0, 8.0, 8.0]], [1, 0], [0.7, 0.5]),  # twice the size: another class
        ([], [], []),
    )
    found = see(AugmentedDetector(model, sizes=[64, 128]), IMAGE)
    assert model.sizes == [(64, 96), (64, 96), (128, 192), (128, 192)]
    assert found.boxes.tolist() == [[10, 20, 30, 40], [10, 20, 30, 40], [0, 0, 4, 4]]
    assert found.labels.tolist() == [0, 1, 0]
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.7, 0.5]))
    assert found.size == (64, 96)


def test_augmented_long_image_is_limited_to_max_size():
    model = Known(([], [], []))
    see(AugmentedDetector(model, sizes=[800], max_size=300, flip=False), IMAGE)
    assert model.sizes == [(200, 300)]


@pytest.mark.parametrize("family", ["mask", "cascade", "c4", "keypoint", "retinanet"])
@torch.no_grad()
def test_augmented_single_view_equals_plain_prediction(family):
    model = build(family)
    # Some models suppress before they clip boxes, so a second suppression could still find overlaps.
    augmented = AugmentedDetector(model, sizes=[64], flip=False, nms=replace(model.nms, iou_threshold=1.0))
    plain, found = see(model, IMAGE), see(augmented, IMAGE)
    assert len(found) == len(plain) > 0
    for name in ("boxes", "labels", "scores", "masks", "keypoints"):
        ours, theirs = getattr(found, name), getattr(plain, name)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("family", ["mask", "keypoint", "retinanet"])
@torch.no_grad()
def test_augmented_flipped_image_gives_flipped_predictions(family):
    model = AugmentedDetector(build(family), sizes=[64], flip_pairs=PAIRS)
    straight, mirrored = see(model, IMAGE), see(model, IMAGE.flip(2))
    assert len(straight) == len(mirrored) > 0
    back = torch.stack(
        (96 - mirrored.boxes[:, 2], mirrored.boxes[:, 1], 96 - mirrored.boxes[:, 0], mirrored.boxes[:, 3])
    )
    torch.testing.assert_close(back.T, straight.boxes, rtol=1e-4, atol=1e-2)
    if family == "mask":
        torch.testing.assert_close(mirrored.masks.flip(2), straight.masks, rtol=1e-3, atol=1e-3)
    if family == "keypoint":
        points = mirrored.keypoints[:, [1, 0, 2]]
        points[..., 0] = 96 - points[..., 0]
        torch.testing.assert_close(points, straight.keypoints, rtol=1e-3, atol=1e-2)


@torch.no_grad()
def test_augmented_masks_are_mean_over_views():
    model = build("mask")
    found = see(AugmentedDetector(model, sizes=[64, 96], flip=False), IMAGE)
    seen = []
    for size in ((64, 96), (96, 144)):
        pixels = nn.functional.interpolate(IMAGE[None].float(), size, mode="bilinear", antialias=True)
        given = Detections(boxes=found.boxes * size[0] / 64, labels=found.labels, scores=found.scores, size=size)
        batch = ImageBatch(pixels=pixels, sizes=(size,))
        [each] = model.roi_heads.predict_given_boxes(model.backbone(model.preprocess(batch)), [given])
        seen.append(each.masks)
    torch.testing.assert_close(found.masks, (seen[0] + seen[1]) / 2, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(seen[0], seen[1], atol=1e-3)


@torch.no_grad()
def test_augmented_without_detections_gives_empty_masks():
    model = build("mask")
    model.roi_heads.box_predictor.nms = NMS(score_threshold=1.0)
    found = see(AugmentedDetector(model, sizes=[64]), IMAGE)
    assert len(found) == len(found.masks) == 0


def test_augmented_unsupported_arguments_are_refused():
    with pytest.raises(ConfigError, match="at least one side"):
        AugmentedDetector(build("retinanet"), sizes=[])
    with pytest.raises(ConfigError, match="is needed for a model without"):
        AugmentedDetector(ProposalNetwork(pyramid()))
    given = Proposals(boxes=torch.zeros(0, 4), logits=torch.zeros(0))
    with pytest.raises(StructureError, match="proposals"):
        AugmentedDetector(build("retinanet"))(ImageBatch.stack([IMAGE], [given]))
