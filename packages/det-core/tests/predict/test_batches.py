"""Eight images in one call give what eight calls give."""

import pytest
import torch
from det_core import Detector
from det_core.backbones import FPN, ResNet
from det_core.models import RPN, MaskRCNNConvUpsampleHead, ProposalNMS, mask_rcnn
from det_core.recipes import Factory
from det_core.structures import ImageBatch
from torch import nn

SIZES = [(64, 96), (96, 64), (80, 80), (64, 64), (72, 96), (96, 96), (56, 88), (60, 60)]


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    model = mask_rcnn(
        FPN(ResNet(18, stem_channels=8, res2_channels=8), out_channels=16),
        num_classes=2,
        mask_head=Factory(MaskRCNNConvUpsampleHead, num_conv=1, conv_dim=8),
        proposal_generator=Factory(RPN, nms=ProposalNMS(post_nms_topk_test=100)),
    )
    nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=0.5)
    return Detector(model, ["a", "b"], device="cpu")


def images(sizes):
    random = torch.Generator().manual_seed(1)
    return [torch.randint(0, 256, (3, *size), generator=random, dtype=torch.uint8) for size in sizes]


def test_of_one_size_they_are_the_same(detector):
    given = images([(64, 96)] * 8)
    for alone, together in zip(map(detector, given), detector(given, batch_size=8), strict=True):
        require_same(alone.detections, together.detections)


def require_same(one, other):
    assert len(one) > 0
    assert torch.equal(one.labels, other.labels)
    torch.testing.assert_close(one.boxes, other.boxes, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(one.scores, other.scores, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(one.masks, other.masks, rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_batch_mixed_sizes_equal_single_images_with_same_padding(detector):
    batch = ImageBatch.stack(images(SIZES))
    together = detector(images(SIZES), threshold=0.0, batch_size=len(SIZES))
    for i, result in enumerate(together):
        alone = detector.model(ImageBatch(pixels=batch.pixels[i : i + 1], sizes=batch.sizes[i : i + 1]))
        require_same(alone[0].detections, result.detections)
        assert result.detections.size == SIZES[i]


def test_last_batch_may_be_smaller_and_order_is_kept(detector):
    given = images(SIZES)
    results = detector(given, batch_size=3)
    assert [tuple(result.image.shape[1:]) for result in results] == SIZES
