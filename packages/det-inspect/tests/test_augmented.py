"""A detector that looks at several views of each image."""

import pytest
import torch
from det_core import Detector
from det_core.backbones import FPN, ResNet
from det_core.data import ResizeShortestEdge
from det_core.errors import ConfigError
from det_core.models import (
    NMS,
    FastRCNNConvFCHead,
    FastRCNNPredictor,
    KeypointRCNNConvDeconvUpsampleHead,
    MaskRCNNConvUpsampleHead,
    StandardROIHeads,
    keypoint_rcnn,
    mask_rcnn,
)
from det_core.recipes import Factory

IMAGE = torch.randint(0, 256, (3, 64, 96), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
STAGE = Factory(
    StandardROIHeads,
    box_head=Factory(FastRCNNConvFCHead, fc_dim=16),
    box_predictor=Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.2, max_detections=10)),
)


def detector(keypoints=None):
    torch.manual_seed(0)
    pyramid = FPN(ResNet(18, stem_channels=8, res2_channels=8), out_channels=8)
    if keypoints is None:
        masks = Factory(MaskRCNNConvUpsampleHead, num_conv=1, conv_dim=8)
        return Detector(mask_rcnn(pyramid, 2, mask_head=masks, roi_heads=STAGE), ["a", "b"], device="cpu")
    head = Factory(KeypointRCNNConvDeconvUpsampleHead, conv_dims=[8], num_keypoints=keypoints)
    return Detector(keypoint_rcnn(pyramid, 2, keypoint_head=head, roi_heads=STAGE), ["a", "b"], device="cpu")


def test_augmented_views_use_stored_image_and_masks_match_size():
    plain = detector()
    found = plain.augmented(sizes=[64, 80])(IMAGE, threshold=0.0)
    assert 0 < len(found) <= 10
    assert found.masks[0].shape == (64, 96)
    assert found.detections.size == (64, 96)
    once = plain.augmented(sizes=[64], flip=False)(IMAGE, threshold=0.0).detections
    torch.testing.assert_close(once.boxes, plain(IMAGE, threshold=0.0).detections.boxes, rtol=1e-4, atol=1e-3)


def test_augmented_default_sizes_scale_with_eval_resize():
    plain = detector()
    published = plain.augmented().model
    assert (published.sizes, published.max_size) == ((400, 500, 600, 700, 800, 900, 1000, 1100, 1200), 4000)
    small = Detector(plain.model, plain.classes, [ResizeShortestEdge(320)], device="cpu").augmented().model
    assert (small.sizes, small.max_size) == ((160, 200, 240, 280, 320, 360, 400, 440, 480), 1600)


def test_augmented_keypoints_other_than_person_require_flip_pairs():
    points = torch.zeros(1, 17, 3)
    order = detector(17).augmented(sizes=[64]).model._mirror_order(points).tolist()
    assert order == [0, *(i + 1 if i % 2 else i - 1 for i in range(1, 17))]
    with pytest.raises(ConfigError, match="flip_pairs: are not known"):
        detector(5).augmented(sizes=[64])(IMAGE)
    assert detector(5).augmented(sizes=[64], flip_pairs=[(0, 1)])(IMAGE).detections.keypoints.shape[1] == 5
    assert detector(5).augmented(sizes=[64], flip=False)(IMAGE).detections.keypoints.shape[1] == 5
