"""Sub-classes, and what core brings on mobile trunks: RetinaNet, FCOS, rotated boxes."""

import math

import pytest
import torch
from det_core.errors import ConfigError, DataError, StructureError
from det_mobile.heads import SUBCLASS, SUBCLASS_PROBABILITIES
from det_mobile.subclasses import SubclassCoco
from small import built, c4_tree, images, objects, pyramid, subclass_file


def trained(model, targets):
    """The losses, and the gradient of the first convolution."""
    losses = model.train()(images(), targets)
    sum(losses.values()).backward()
    return {name: float(value.detach()) for name, value in losses.items()}, next(model.backbone.parameters()).grad


DENSE = {
    "retinanet": ({"type": "retinanet_head", "tower": {"conv_dims": [16]}}, {"loss_cls", "loss_box_reg"}),
    "fcos": (
        {"type": "fcos_head", "tower": {"conv_dims": [16], "norm": "BN"}},
        {"loss_fcos_cls", "loss_fcos_loc", "loss_fcos_ctr"},
    ),
}


@pytest.mark.parametrize("name", DENSE)
def test_dense_heads_train_and_predict_on_a_mobile_pyramid(name):
    head, names = DENSE[name]
    tree = {"type": "dense_detector", "num_classes": 2, "backbone": pyramid(top="convolutions"), "head": head}
    model = built(tree)
    losses, gradient = trained(model, [objects(), objects()])
    assert losses.keys() == names
    assert gradient.abs().sum() > 0
    with torch.inference_mode():
        assert len(model.eval()(images())) == 2


def test_rotated_boxes_train_and_predict_on_a_mobile_trunk():
    tree = c4_tree(
        pooler={"resolution": 6, "sampling_ratio": 2, "pooling": "ROIAlignRotated"},
        box_predictor={"box_weights": [10.0, 10.0, 5.0, 5.0, 1.0], "nms": {"score_threshold": 0.0}},
    )
    tree["proposal_generator"]["box_weights"] = [1.0] * 5
    tree["proposal_generator"]["anchor_generator"] = {"sizes": [[16, 32]], "angles": [[-90, 0]]}
    boxes = ((40.0, 40.0, 50.0, 30.0, 30.0), (70.0, 50.0, 40.0, 40.0, -20.0))
    model = built(tree)
    losses, gradient = trained(model, [objects(boxes=boxes)] * 2)
    assert {"loss_rpn_loc", "loss_box_reg"} <= losses.keys()
    assert all(math.isfinite(value) for value in losses.values())
    assert gradient.abs().sum() > 0
    with torch.inference_mode():
        found = model.eval()(images())[0].detections
    assert found.boxes.shape[1] == 5
    assert len(found) > 0


def subclass_model():
    predictor = {"nms": {"score_threshold": 0.0, "max_detections": 20}}
    return built(c4_tree(type="det-mobile/subclass_roi_heads", num_subclasses=3, num_layers=2, box_predictor=predictor))


def test_subclass_loss_starts_at_the_logarithm_of_their_number():
    model = subclass_model()
    losses, _ = trained(model, [objects({SUBCLASS: torch.tensor([1, 3])})] * 2)
    assert losses["loss_subclass"] == pytest.approx(math.log(4), abs=0.02)
    assert [tuple(layer.weight.shape) for layer in model.roi_heads.subclass_head] == [(16, 16), (4, 16)]


def test_subclass_probabilities_are_those_of_the_region():
    model = subclass_model().eval()
    heads = model.roi_heads
    seen = {}
    heads.box_head.register_forward_hook(lambda _module, _inputs, output: seen.__setitem__("features", output))
    with torch.inference_mode():
        torch.nn.init.normal_(heads.subclass_head[1].weight, std=1.0)
        found = model(images(1))[0].detections
        rows = heads.subclass_head(seen["features"]).softmax(1)
        scores = heads.box_predictor(seen["features"])[0].softmax(1)
    told = found.extras[SUBCLASS_PROBABILITIES]
    assert len(found) == 20
    for label, score, own in zip(found.labels, found.scores, told, strict=True):
        (regions,) = torch.where(scores[:, label] == score)
        assert any(torch.equal(rows[region], own) for region in regions)


@pytest.mark.parametrize("extras", [{}, {SUBCLASS: torch.tensor([1, 4])}])
def test_subclasses_missing_or_out_of_range_are_refused(extras):
    with pytest.raises(StructureError, match="det-mobile/subclass"):
        subclass_model().train()(images(), [objects(extras)] * 2)


def test_stage_without_subclasses_is_refused():
    with pytest.raises(ConfigError, match="at least one sub-class"):
        built(c4_tree(type="det-mobile/subclass_roi_heads", num_subclasses=0))


def test_subclass_file_gives_an_extra_of_each_object(tmp_path):
    file = subclass_file(tmp_path, {"extras": {"subclass_id": 2}}, {"extras": {"subclass_id": 0}})
    assert SubclassCoco(tmp_path, file)[0].targets.extras[SUBCLASS].tolist() == [2, 0]


def test_subclass_file_lists_the_annotations_without_one(tmp_path):
    file = subclass_file(tmp_path, {"extras": {"subclass_id": 2}}, {}, {"extras": {"subclass_id": "cup"}})
    with pytest.raises(DataError, match="2 annotations have no sub-class; with the ids 1, 2"):
        SubclassCoco(tmp_path, file)
