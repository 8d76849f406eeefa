"""RetinaNet."""

import pytest
import torch
from det_core.backbones import FPN, ResNet
from det_core.contracts import DenseHead, Model
from det_core.errors import ConfigError
from det_core.models import AnchorGenerator, BoxRegression, DenseDetector, DenseNMS, RetinaNetHead, TowerLayers
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Targets

CHANNELS, STRIDES = {"p3": 8, "p4": 8}, {"p3": 8, "p4": 16}
SIZES = [(32, 48), (32, 40)]


def head(**options):
    torch.manual_seed(0)
    return RetinaNetHead(CHANNELS, STRIDES, num_classes=3, **{"tower": TowerLayers(conv_dims=[-1]), **options})


def features(value=None):
    random = torch.Generator().manual_seed(0)
    maps = {"p3": torch.randn(2, 8, 4, 6, generator=random), "p4": torch.randn(2, 8, 2, 3, generator=random)}
    return maps if value is None else {name: torch.full_like(x, value) for name, x in maps.items()}


def truth(*boxes):
    return Targets(boxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.arange(len(boxes)) % 3)


def test_levels_have_three_sizes_and_three_ratios_per_pixel():
    outputs = head()(features())
    assert isinstance(head(), DenseHead)
    assert [tuple(x.shape) for x in outputs.logits] == [(2, 4 * 6 * 9, 3), (2, 2 * 3 * 9, 3)]
    assert [tuple(x.shape) for x in outputs.offsets] == [(2, 4 * 6 * 9, 4), (2, 2 * 3 * 9, 4)]
    areas = (outputs.anchors[0][:9, 2:] - outputs.anchors[0][:9, :2]).prod(dim=1)
    torch.testing.assert_close(areas.sqrt()[::3], torch.tensor([32.0, 32 * 2 ** (1 / 3), 32 * 2 ** (2 / 3)]))


def test_losses_of_one_anchor_equal_hand_computed():
    one = RetinaNetHead(
        {"p3": 8},
        {"p3": 8},
        1,
        tower=TowerLayers(conv_dims=[]),
        prior_probability=0.5,
        anchor_generator=Factory(AnchorGenerator, sizes=[[8]], aspect_ratios=[[1.0]], offset=0.5),
    )
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.zero_()
    outputs = one({"p3": torch.zeros(1, 8, 1, 2)})  # the anchors (0, 0, 8, 8) and (8, 0, 16, 8), p = 0.5
    losses = one.losses(outputs, [(8, 16)], [truth([1.0, 0.0, 9.0, 8.0])])
    normalizer = 100 * 0.9 + 1 * 0.1
    log2 = torch.log(torch.tensor(2.0)).item()
    # The first anchor is the object's, the second background: alpha 0.25 and 0.75, both (1 - p) ** 2 = 0.25.
    assert losses["loss_cls"].item() == pytest.approx((0.25 + 0.75) * 0.25 * log2 / normalizer)
    assert losses["loss_box_reg"].item() == pytest.approx(1 / 8 / normalizer)  # dx = 1 / 8


@pytest.mark.parametrize(
    "options", [{}, {"box_regression": BoxRegression(loss="giou")}, {"tower": TowerLayers([-1], norm="BN")}]
)
def test_images_without_objects_have_losses_that_reach_every_parameter(options):
    model = head(**options)
    losses = model.losses(model(features()), SIZES, [truth(), truth()])
    assert losses["loss_box_reg"] == 0
    assert losses["loss_cls"] > 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_object_of_one_pixel_matches_an_anchor():
    model = head()
    losses = model.losses(model(features()), SIZES, [truth([5.0, 5.0, 6.0, 6.0]), truth()])
    assert losses["loss_box_reg"] > 0


def test_detections_are_clipped_sorted_and_limited():
    found = head(nms=DenseNMS(score_threshold=0.001, max_detections=7)).decode(head()(features()), SIZES)
    assert [len(image) for image in found] == [7, 7]
    for image, (height, width) in zip(found, SIZES, strict=True):
        assert image.size == (height, width)
        assert (image.scores.diff() <= 0).all()
        assert (image.boxes >= 0).all()
        assert (image.boxes <= torch.tensor([width, height, width, height])).all()


def test_batch_of_two_images_equals_single_images():
    model, maps = head(nms=DenseNMS(score_threshold=0.001)).eval(), features()
    together = model.decode(model(maps), SIZES)
    for i, size in enumerate(SIZES):
        (alone,) = model.decode(model({name: x[i : i + 1] for name, x in maps.items()}), [size])
        torch.testing.assert_close(together[i].scores, alone.scores)
        # Scores that differ in the last bit alone may change places, so the boxes are compared as sets. The distance by
        # the difference: that by the product of matrices is wrong by 0.03 pixels.
        distance = (together[i].boxes[:, None] - alone.boxes).abs().amax(dim=2)
        assert distance.amin(dim=1).max() < 1e-3
        assert distance.amin(dim=0).max() < 1e-3


def test_nan_activations_give_no_detections():
    model = head(nms=DenseNMS(score_threshold=0.0))
    assert [len(image) for image in model.decode(model(features(float("nan"))), SIZES)] == [0, 0]


def test_levels_with_different_numbers_of_anchors_are_refused():
    with pytest.raises(ConfigError, match="as many anchors"):
        head(anchor_generator=Factory(AnchorGenerator, sizes=[[8], [8, 16]]))


def test_retinanet_trains_and_detects():
    torch.manual_seed(0)
    pyramid = FPN(
        ResNet(18, out_features=["res3", "res4"], stem_channels=8, res2_channels=8), out_channels=8, top="convolutions"
    )
    model = DenseDetector(
        pyramid,
        Factory(RetinaNetHead, tower=TowerLayers(conv_dims=[-1]), nms=DenseNMS(score_threshold=0.005)),
        num_classes=3,
    )
    assert isinstance(model, Model)
    batch = ImageBatch.stack([torch.zeros(3, 20, 30, dtype=torch.uint8), torch.ones(3, 16, 33, dtype=torch.uint8)])
    losses = model(batch, [truth([2.0, 2.0, 20.0, 20.0]), truth()])
    assert set(losses) == {"loss_cls", "loss_box_reg"}
    predictions = model.eval()(batch)
    assert [p.detections.size for p in predictions] == [(20, 30), (16, 33)]
    assert "backbone.top_block.p5.weight" in model.state_dict()
    with torch.device("meta"):
        DenseDetector(FPN(ResNet(18)), RetinaNetHead, num_classes=2)
