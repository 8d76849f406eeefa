"""The mask heads of PointRend: what they learn from, and how they render."""

import math

import pytest
import torch
from det_core.contracts import RegionHead
from det_core.errors import ConfigError, StructureError, WeightsError
from det_core.ops.masks import rasterize
from det_core.recipes import Factory
from det_core.structures import Detections, Polygons, Targets
from det_core.weights import load_into
from det_pointrend.layers import ConvFCHead, ImplicitPointHead, RegionLayers, StandardPointHead
from det_pointrend.mask_heads import ImplicitPointRendMaskHead, PointRendMaskHead, subdivided
from det_pointrend.point_targets import DrawnPoints
from det_pointrend.points import PointSampler, Subdivision, grid
from torch import nn
from torch.nn import functional as F

CHANNELS, STRIDES = {"p2": 4, "p3": 4}, {"p2": 4, "p3": 8}
BOX = torch.tensor([[8.0, 8, 40, 40]])
LEFT = [8.0, 8, 24, 8, 24, 40, 8, 40]
WHOLE = [8.0, 8, 40, 8, 40, 40, 8, 40]
SMALL = {"region_layers": RegionLayers(resolution=4, conv_dim=8, fc_dim=16)}


def pointrend(**options):
    torch.manual_seed(0)
    return PointRendMaskHead(CHANNELS, STRIDES, 3, **{**SMALL, "coarse_resolution": 4, **options})


def implicit(**options):
    torch.manual_seed(0)
    head = Factory(ImplicitPointHead, fc_dim=8, num_fc=1)
    return ImplicitPointRendMaskHead(CHANNELS, STRIDES, 3, **{**SMALL, "point_head": head, **options})


BOTH = pytest.mark.parametrize("make", [pointrend, implicit])


def features(images=1):
    random = torch.Generator().manual_seed(1)
    return {n: torch.randn(images, 4, 64 // s, 64 // s, generator=random) for n, s in STRIDES.items()}


def truth(*outlines, label=1):
    masks = rasterize(Polygons.of([[outline] for outline in outlines]), (64, 64))
    return Targets(boxes=BOX.repeat(len(outlines), 1), labels=torch.full((len(outlines),), label), masks=masks)


def detections(count, label=1):
    boxes = BOX.repeat(count, 1)
    return Detections(boxes=boxes, labels=torch.full((count,), label), scores=torch.ones(count), size=(64, 64))


def say(head, *logits):
    """Make the point head of PointRend answer for class i with the logit i, whatever it sees."""
    with torch.no_grad():
        head.point_head.predictor.weight.zero_()
        head.point_head.predictor.bias.copy_(torch.tensor(logits))


def test_point_loss_is_mean_cross_entropy_of_matched_class():
    head = pointrend()
    say(head, 50.0, math.log(3), -50.0)  # three quarters sure that a point of class 1 is in the mask
    losses = head.losses(features(), [BOX], [truth(WHOLE)])
    assert set(losses) == {"loss_mask", "loss_mask_point"}
    # A few points lie within half a pixel of the outline, where the mask says less than 1.
    assert losses["loss_mask_point"].item() == pytest.approx(-math.log(3 / 4), abs=0.05)
    say(head, 50.0, 0.0, -50.0)
    assert head.losses(features(), [BOX], [truth(LEFT)])["loss_mask_point"].item() == pytest.approx(math.log(2))


def test_point_targets_come_from_mask_and_not_from_box():
    head = pointrend(sampler=PointSampler(importance=0.0))
    say(head, 0.0, 100.0, 0.0)
    assert head.losses(features(), [BOX], [truth(WHOLE)])["loss_mask_point"] < 3
    # Half of the points are not in it, each of which costs 100.
    assert head.losses(features(), [BOX], [truth(LEFT)])["loss_mask_point"].item() == pytest.approx(50, abs=12)


def test_polygons_and_bitmaps_of_same_objects_give_same_losses():
    head, bitmaps = pointrend(), truth(LEFT, WHOLE)
    outlines = Targets(boxes=bitmaps.boxes, labels=bitmaps.labels, masks=Polygons.of([[LEFT], [WHOLE]]))
    losses = []
    for own in (bitmaps, outlines):
        torch.manual_seed(0)
        losses.append(head.losses(features(), [own.boxes], [own]))
    assert losses[0] == losses[1]


@BOTH
def test_losses_without_objects_are_zero_with_gradients_everywhere(make):
    head = make()
    losses = head.losses(features(2), [BOX[:0]] * 2, [truth(), truth()])
    sum(losses.values()).backward()
    assert all(loss == 0 for loss in losses.values())
    assert all(parameter.grad is not None for parameter in head.parameters())


@BOTH
def test_objects_without_masks_are_refused(make):
    with pytest.raises(StructureError, match="load the dataset with masks"):
        make().losses(features(), [BOX], [Targets(boxes=BOX, labels=torch.tensor([1]))])


@BOTH
def test_predict_gives_fine_mask_per_detection_and_none_without(make):
    head = make(subdivision=Subdivision(steps=5 if make is pointrend else 3, points=64))
    assert isinstance(head, RegionHead)
    with torch.no_grad():
        one, none, two = head.predict(features(3), [detections(1), detections(0), detections(2)])
    side = one.masks.shape[-1]
    assert [tuple(found.masks.shape) for found in (one, none, two)] == [(n, side, side) for n in (1, 0, 2)]
    assert side == {pointrend: 4 * 2**5, implicit: 8 * 2**3}[make]
    assert ((one.masks > 0) & (one.masks < 1)).all()
    assert head.predict(features(2), [detections(0), detections(0)])[1].masks.shape == (0, side, side)


@BOTH
def test_predict_batch_equals_single_images(make):
    head, level = make(subdivision=Subdivision(steps=5 if make is pointrend else 3, points=64)), features(2)
    nn.init.normal_(getattr(head, "parameter_head", getattr(head, "coarse_head", None)).prediction.weight)
    with torch.no_grad():
        both = head.predict(level, [detections(2), detections(1, 2)])
        (alone,) = head.predict({name: value[1:] for name, value in level.items()}, [detections(1, 2)])
    torch.testing.assert_close(both[1].masks, alone.masks, rtol=1e-4, atol=1e-4)


def test_only_the_least_certain_cells_are_decided_anew():
    asked = []

    def decide(points):
        asked.append(points)
        return 10 * (points[..., 0] - 0.5)  # 0 on the vertical in the middle

    logits = subdivided(decide, 1, 4, 2, 16, BOX)
    assert logits.shape == (1, 16, 16)
    assert [each.shape[1] for each in asked] == [16, 16, 16]
    torch.testing.assert_close(asked[0][0], grid(4, BOX))
    # Of 8 x 8 cells the two columns in the middle, of 16 x 16 the same.
    assert (asked[1][..., 0] - 0.5).abs().max() < 1 / 8
    assert (asked[2][..., 0] - 0.5).abs().max() < 1 / 16
    torch.testing.assert_close(logits[0, :, 7:9], torch.tensor([[-1 / 32, 1 / 32]]).expand(16, 2) * 10)


def test_subdivision_over_all_points_needs_no_coarse_mask():
    head = pointrend(coarse_resolution=7)
    assert (head.side, head.steps) == (28, 3)
    assert head.predict(features(), [detections(1)])[0].masks.shape == (1, 224, 224)
    once = pointrend(coarse_resolution=7, subdivision=Subdivision(steps=1))
    assert once.predict(features(), [detections(1)])[0].masks.shape == (1, 14, 14)


def test_without_a_point_head_the_coarse_mask_is_all():
    head = pointrend(point_head=None)
    assert head.predict(features(), [detections(2)])[0].masks.shape == (2, 4, 4)
    assert set(head.losses(features(), [BOX], [truth(LEFT)])) == {"loss_mask"}


def test_class_agnostic_point_head_serves_all_classes():
    head = pointrend(
        point_head=Factory(StandardPointHead, class_agnostic=True), subdivision=Subdivision(steps=5, points=4)
    )
    say(head, 100.0)
    assert (head.predict(features(), [detections(1, 2)])[0].masks == 1).all()
    assert head.losses(features(), [BOX], [truth(WHOLE, label=2)])["loss_mask_point"] < 3


def test_coarse_logits_enter_every_layer_or_first_layer_only():
    assert StandardPointHead(4, 3, fc_dim=8).predictor.weight.shape == (3, 11, 1)
    assert StandardPointHead(4, 3, fc_dim=8, coarse_each_layer=False).predictor.weight.shape == (3, 8, 1)


def test_region_head_projects_wide_features_to_its_width():
    assert list(ConvFCHead(4, 4, (2, 3), conv_dim=8, fc_dim=5, num_fc=1).state_dict()) == [
        "reduce_spatial_dim_conv.weight",
        "reduce_spatial_dim_conv.bias",
        "fc1.weight",
        "fc1.bias",
        "prediction.weight",
        "prediction.bias",
    ]
    wide = ConvFCHead(16, 4, (2, 3), conv_dim=8, fc_dim=5)
    assert wide.reduce_channel_dim_conv.weight.shape == (8, 16, 1, 1)
    assert wide(torch.randn(7, 16, 4, 4)).shape == (7, 2, 3)


def test_implicit_head_builds_network_per_region():
    head = ImplicitPointHead(2, 3, fc_dim=4, num_fc=1, positions=False)
    assert head.num_params == 4 * 2 + 3 * 4 + 4 + 3
    fine, weights = torch.randn(5, 2, 6), torch.randn(5, head.num_params)
    first, last = weights[2, :8].reshape(4, 2), weights[2, 8:20].reshape(3, 4)
    hidden = F.relu(first @ fine[2] + weights[2, 20:24, None])
    expected = last @ hidden + weights[2, 24:, None]
    torch.testing.assert_close(head(fine, torch.rand(5, 6, 2), weights)[2], expected)


def test_implicit_network_takes_features_or_positions_or_both():
    points, fine = torch.rand(2, 6, 2), torch.randn(2, 2, 6)
    places = ImplicitPointHead(2, 3, fc_dim=4, num_fc=1, image_features=False)
    weights = torch.randn(2, places.num_params)
    assert torch.equal(places(fine, points, weights), places(fine * 2, points, weights))
    assert ImplicitPointHead(2, 3, fc_dim=4, num_fc=1).num_params == 4 * (256 + 2) + 4 * 3 + 4 + 3
    with pytest.raises(ConfigError, match="features or positions"):
        ImplicitPointHead(2, 3, image_features=False, positions=False)


def test_implicit_weights_are_regularized():
    head = implicit(regularization=2.0, points=DrawnPoints(4))
    with torch.no_grad():
        head.parameter_head.prediction.weight.zero_()
        head.parameter_head.prediction.bias.fill_(3.0)
    assert head.losses(features(), [BOX], [truth(LEFT)])["loss_l2"] == 2 * 9


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (pointrend, {"in_features": ["p9"]}, r"PointRendMaskHead\.in_features: must name levels"),
        (pointrend, {"point_features": ["p9"]}, r"PointRendMaskHead\.point_features: must name levels"),
        (pointrend, {"region_layers": RegionLayers(resolution=1)}, "resolution of at least 2"),
        (implicit, {"subdivision": Subdivision(points=50)}, "must be a square number; got 50"),
    ],
)
def test_arguments_that_cannot_be_are_refused(make, options, words):
    with pytest.raises(ConfigError, match=words):
        make(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"oversample": 0.5}, "oversample must be at least 1"), ({"importance": 1.5}, "importance from 0 to 1")],
)
def test_point_sampler_out_of_range_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        PointSampler(**options)


class Stage(nn.Module):
    def __init__(self):
        super().__init__()
        self.mask_head = pointrend()


def first_named(state):
    """The weights as the first published files call them."""
    older = {}
    for key, value in state.items():
        old = key.replace("mask_head.coarse_head.fc", "mask_coarse_head.coarse_mask_fc")
        old = old.replace("mask_head.coarse_head.", "mask_coarse_head.")
        older[old.replace("mask_head.point_head.", "mask_point_head.")] = value + 1
    return older


def test_weights_with_first_published_keys_are_loaded():
    model = nn.ModuleDict({"roi_heads": Stage()})
    older = first_named(model.state_dict())
    assert "roi_heads.mask_coarse_head.coarse_mask_fc1.weight" in older
    assert "roi_heads.mask_point_head.predictor.bias" in older
    report = load_into(model, older)
    assert report.upgrades == ("PointRend's first names",)
    assert torch.equal(model["roi_heads"].mask_head.coarse_head.fc2.bias, torch.ones(16))
    assert load_into(model, model.state_dict()).upgrades == ()


def test_weights_with_incomplete_first_published_keys_are_refused():
    older = first_named(Stage().state_dict())
    del older["mask_point_head.fc1.weight"]
    with pytest.raises(WeightsError, match=r"missing: mask_head\.point_head\.fc1\.weight"):
        load_into(Stage(), older)
