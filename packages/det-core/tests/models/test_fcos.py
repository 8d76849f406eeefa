"""FCOS."""

import pytest
import torch
from det_core.contracts import DenseHead
from det_core.models import FCOSNMS, FCOSHead, FCOSTower
from det_core.structures import Targets

CHANNELS, STRIDES = {"p3": 8, "p4": 8}, {"p3": 8, "p4": 16}
SIZES = [(32, 48), (32, 40)]


def head(**options):
    torch.manual_seed(0)
    return FCOSHead(CHANNELS, STRIDES, num_classes=3, **{"tower": FCOSTower(conv_dims=[-1], norm=""), **options})


def features(value=None):
    random = torch.Generator().manual_seed(0)
    maps = {"p3": torch.randn(2, 8, 4, 6, generator=random), "p4": torch.randn(2, 8, 2, 3, generator=random)}
    return maps if value is None else {name: torch.full_like(x, value) for name, x in maps.items()}


def truth(*boxes):
    return Targets(boxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.arange(len(boxes)) % 3)


def matched(*boxes, **options):
    """Which class each point of both levels stands for."""
    model = head(**options)
    outputs = model(features())
    points = torch.cat(outputs.points)
    strides = model._stride_of_points(outputs.points)
    labels, _ = model._match(points, strides, outputs.points, truth(*boxes))
    return labels[:24].reshape(4, 6), labels[24:].reshape(2, 3)


def test_points_are_the_middles_of_the_feature_pixels():
    outputs = head()(features())
    assert isinstance(head(), DenseHead)
    assert outputs.points[0][:2].tolist() == [[4, 4], [12, 4]]
    assert outputs.points[1].tolist() == [[8, 8], [24, 8], [40, 8], [8, 24], [24, 24], [40, 24]]
    assert [tuple(x.shape) for x in outputs.logits] == [(2, 24, 3), (2, 6, 3)]
    assert [tuple(x.shape) for x in outputs.centerness] == [(2, 24), (2, 6)]


def test_offset_zero_measures_from_pixel_corners_as_torchvision():
    assert head(offset=0.0)(features()).points[0][:2].tolist() == [[0, 0], [8, 0]]


def test_points_match_nearby_object_on_level_of_its_size():
    fine, coarse = matched([4.0, 4.0, 44.0, 28.0])  # centre (24, 16)
    # 1.5 strides of 8 around the centre: x in (12, 36), y in (4, 28).
    assert torch.nonzero(fine == 0).tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]
    assert (coarse == 0).sum() == 0  # no side is 64 pixels away
    fine, coarse = matched([0.0, 0.0, 40.0, 300.0])
    assert (fine == 3).all()
    assert (coarse == 3).all()  # the centre is too far below
    fine, coarse = matched([0.0, -100.0, 40.0, 132.0], center_radius=9.0)
    assert (fine == 3).all()
    assert torch.nonzero(coarse == 0).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_where_objects_overlap_the_smaller_one_counts():
    fine, _ = matched([4.0, 4.0, 44.0, 28.0], [14.0, 6.0, 34.0, 26.0])
    assert torch.nonzero(fine == 1).tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]


def test_losses_equal_hand_computed():
    model = FCOSHead({"p3": 8}, {"p3": 8}, 1, tower=FCOSTower(conv_dims=[], norm=""), prior_probability=0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.bbox_pred.bias.fill_(0.5)
    outputs = model({"p3": torch.zeros(1, 8, 1, 3)})
    # The object is seen from the point (12, 4) alone, 4 pixels from two sides and 2 and 6 from the others.
    losses = model.losses(outputs, [(8, 24)], [truth([10.0, 0.0, 18.0, 8.0])])
    normalizer = 300 * 0.9 + 1 * 0.1
    assert losses["loss_fcos_cls"].item() == pytest.approx((0.25 + 2 * 0.75) * 0.25 * 0.693147 / normalizer, rel=1e-5)
    # Found is (8, 0, 16, 8): 48 shared of 80, which is also what encloses both.
    assert losses["loss_fcos_loc"].item() == pytest.approx((1 - 48 / 80) / normalizer, rel=1e-5)
    assert losses["loss_fcos_ctr"].item() == pytest.approx(0.693147 / normalizer, rel=1e-5)


@pytest.mark.parametrize("norm", ["", "BN"])
def test_images_without_objects_have_losses_that_reach_every_parameter(norm):
    model = head(tower=FCOSTower(norm=norm))
    losses = model.losses(model(features()), SIZES, [truth(), truth()])
    assert losses["loss_fcos_loc"] == losses["loss_fcos_ctr"] == 0
    assert losses["loss_fcos_cls"] > 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_object_of_one_pixel_has_finite_losses():
    model = head()
    losses = model.losses(model(features()), SIZES, [truth([5.0, 5.0, 6.0, 6.0]), truth()])
    assert all(loss.isfinite() for loss in losses.values())


def test_detections_are_clipped_sorted_and_limited():
    model = head(nms=FCOSNMS(score_threshold=0.01, max_detections=7))
    torch.nn.init.ones_(model.bbox_pred.bias)
    found = model.decode(model(features()), SIZES)
    assert [len(image) for image in found] == [7, 7]
    for image, (height, width) in zip(found, SIZES, strict=True):
        assert (image.scores.diff() <= 0).all()
        assert (image.boxes >= 0).all()
        assert (image.boxes <= torch.tensor([width, height, width, height])).all()


def test_batch_of_two_images_equals_single_images():
    model, maps = head(nms=FCOSNMS(score_threshold=0.01)).eval(), features()
    torch.nn.init.ones_(model.bbox_pred.bias)
    together = model.decode(model(maps), SIZES)
    for i, size in enumerate(SIZES):
        (alone,) = model.decode(model({name: x[i : i + 1] for name, x in maps.items()}), [size])
        assert len(alone) > 0
        torch.testing.assert_close(together[i].scores, alone.scores)
        # Scores that differ in the last bit alone may change places, so the boxes are compared as sets. The distance by
        # the difference: that by the product of matrices is wrong by 0.03 pixels.
        distance = (together[i].boxes[:, None] - alone.boxes).abs().amax(dim=2)
        assert distance.amin(dim=1).max() < 1e-3
        assert distance.amin(dim=0).max() < 1e-3


def test_nan_activations_give_no_detections():
    model = head(nms=FCOSNMS(score_threshold=0.0))
    assert [len(image) for image in model.decode(model(features(float("nan"))), SIZES)] == [0, 0]
