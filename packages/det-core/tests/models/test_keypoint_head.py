"""The keypoint head: what it learns from, and what it says of detections."""

import math

import pytest
import torch
from det_core.backbones import FPN, TorchvisionBackbone
from det_core.contracts import RegionHead
from det_core.errors import ConfigError, StructureError
from det_core.models import NMS, KeypointRCNNConvDeconvUpsampleHead, ROIPooler, StandardROIHeads, keypoint_rcnn
from det_core.models.heads.box import FastRCNNPredictor
from det_core.recipes import Factory
from det_core.structures import Detections, ImageBatch, Targets

CHANNELS, STRIDES = {"p2": 4, "p3": 4}, {"p2": 4, "p3": 8}
BOX = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
INSIDE, OUTSIDE, UNLABELLED = [12.0, 12.0, 2.0], [50.0, 12.0, 2.0], [12.0, 12.0, 0.0]


def head(**options):
    torch.manual_seed(0)
    options = {"num_keypoints": 2, "conv_dims": [8], "pooler": Factory(ROIPooler, resolution=4), **options}
    return KeypointRCNNConvDeconvUpsampleHead(CHANNELS, STRIDES, **options)


def features(images=1):
    random = torch.Generator().manual_seed(1)
    return {n: torch.randn(images, 4, 64 // s, 64 // s, generator=random) for n, s in STRIDES.items()}


def truth(*keypoints):
    points = torch.tensor(keypoints).reshape(-1, 2, 3)
    labels = torch.zeros(len(points), dtype=torch.int64)
    return Targets(boxes=BOX.repeat(len(points), 1), labels=labels, keypoints=points)


def silent(model):
    """Let `model` find all cells equally likely."""
    with torch.no_grad():
        model.score_lowres.weight.zero_()
    return model


def test_loss_is_cross_entropy_over_cells_of_labelled_keypoints():
    model = silent(head(loss_weight=3.0))
    for seen in ([INSIDE, INSIDE], [INSIDE, OUTSIDE], [INSIDE, UNLABELLED]):
        loss = model.losses(features(), [BOX], [truth(seen)])["loss_keypoint"]
        assert loss.item() == pytest.approx(3.0 * math.log(16 * 16), rel=1e-5)


def test_loss_normalized_by_capacity_divides_by_maximum():
    model = silent(head(normalize_by="capacity", max_foreground=10))
    losses = model.losses(features(2), [BOX, BOX], [truth([INSIDE, OUTSIDE]), truth([INSIDE, INSIDE])])
    # Three of the 2 images x 10 regions x 2 keypoints.
    assert losses["loss_keypoint"].item() == pytest.approx(3 * math.log(16 * 16) / 40, rel=1e-5)


@pytest.mark.parametrize("normalize_by", ["visible", "capacity"])
@pytest.mark.parametrize("objects", [truth(), truth([OUTSIDE, UNLABELLED])])
def test_loss_without_labelled_keypoints_is_zero_with_gradients(normalize_by, objects):
    model = head(normalize_by=normalize_by)
    losses = model.losses(features(), [objects.boxes], [objects])
    losses["loss_keypoint"].backward()
    assert losses["loss_keypoint"] == 0
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_detections_get_their_keypoints_within_their_boxes():
    model = head()
    assert isinstance(model, RegionHead)
    found = [
        Detections(
            boxes=BOX.repeat(n, 1), labels=torch.zeros(n, dtype=torch.int64), scores=torch.ones(n), size=(64, 64)
        )
        for n in (2, 0)
    ]
    two, none = (each.keypoints for each in model.predict(features(2), found))
    assert two.shape == (2, 2, 3)
    assert none.shape == (0, 2, 3)
    assert ((two[..., :2] > 8) & (two[..., :2] < 40)).all()
    assert (two[..., 2] > 0).all()


def test_truth_without_keypoints_or_with_others_is_refused():
    bare = Targets(boxes=BOX, labels=torch.tensor([0]))
    with pytest.raises(StructureError, match="load the dataset with keypoints"):
        head().losses(features(), [BOX], [bare])
    with pytest.raises(StructureError, match="got 2, but the head has 3"):
        head(num_keypoints=3).losses(features(), [BOX], [truth([INSIDE, INSIDE])])
    with pytest.raises(ConfigError, match="max_foreground"):
        head(max_foreground=0)


def test_keys_are_those_of_published_files():
    assert list(head(conv_dims=[8, 8]).state_dict()) == [
        f"{name}.{part}" for name in ("conv_fcn1", "conv_fcn2", "score_lowres") for part in ("weight", "bias")
    ]


def test_keypoint_rcnn_learns_and_predicts_keypoints_beside_boxes():
    torch.manual_seed(0)
    model = keypoint_rcnn(
        FPN(TorchvisionBackbone("mobilenet_v3_small", strides=[8, 16, 32]), out_channels=32),
        keypoint_head=Factory(KeypointRCNNConvDeconvUpsampleHead, num_keypoints=2, conv_dims=[8]),
        roi_heads=Factory(StandardROIHeads, box_predictor=Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.2))),
    )
    batch = ImageBatch.stack([torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)] * 2)
    losses = model(batch, [truth([INSIDE, OUTSIDE]), truth()])
    assert set(losses) == {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg", "loss_keypoint"}
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    with torch.inference_mode():
        for prediction in model.eval()(batch):
            assert len(prediction.detections) > 0
            assert prediction.detections.keypoints.shape == (len(prediction.detections), 2, 3)
