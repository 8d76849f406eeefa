"""The mask head: what it learns from, and what it says of detections."""

import math

import pytest
import torch
from det_core.backbones import FPN, TorchvisionBackbone
from det_core.contracts import RegionHead
from det_core.errors import ConfigError, StructureError
from det_core.models import NMS, MaskRCNNConvUpsampleHead, ROIPooler, StandardROIHeads, mask_rcnn
from det_core.models.heads.box import FastRCNNPredictor
from det_core.ops.masks import paste_masks, rasterize
from det_core.recipes import Factory
from det_core.structures import Detections, ImageBatch, Polygons, Targets

CHANNELS, STRIDES = {"p2": 4, "p3": 4}, {"p2": 4, "p3": 8}
BOX = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
WHOLE = [8.0, 8.0, 40.0, 8.0, 40.0, 40.0, 8.0, 40.0]
LEFT = [8.0, 8.0, 24.0, 8.0, 24.0, 40.0, 8.0, 40.0]


def head(**options):
    torch.manual_seed(0)
    options = {"num_conv": 1, "conv_dim": 32, "pooler": Factory(ROIPooler, resolution=4), **options}
    return MaskRCNNConvUpsampleHead(CHANNELS, STRIDES, 3, **options)


def features(images=1):
    random = torch.Generator().manual_seed(1)
    return {n: torch.randn(images, 4, 64 // s, 64 // s, generator=random) for n, s in STRIDES.items()}


def truth(*outlines, label=1):
    masks = Polygons.of([[outline] for outline in outlines])
    return Targets(boxes=BOX.repeat(len(outlines), 1), labels=torch.full((len(outlines),), label), masks=masks)


def detections(count, label=1):
    return Detections(
        boxes=BOX.repeat(count, 1),
        labels=torch.full((count,), label),
        scores=torch.ones(count),
        size=(64, 64),
    )


def say(model, *logits):
    """Make `model` give every cell of class i the logit i, whatever it sees."""
    with torch.no_grad():
        model.predictor.weight.zero_()
        model.predictor.bias.copy_(torch.tensor(logits))


def test_loss_is_cross_entropy_of_matched_class_over_cells():
    model = head(loss_weight=2.0)
    say(model, 100.0, math.log(3), -100.0)  # three quarters sure that a cell is in the mask of class 1
    # Half of the cells are in: -(log(3/4) + log(1/4)) / 2 on average.
    [loss] = model.losses(features(), [BOX], [truth(LEFT)]).values()
    assert loss.item() == pytest.approx(-(math.log(3 / 4) + math.log(1 / 4)) / 2 * 2.0, rel=1e-5)
    [loss] = model.losses(features(), [BOX], [truth(WHOLE)]).values()
    assert loss.item() == pytest.approx(-math.log(3 / 4) * 2.0, rel=1e-5)


def test_polygons_and_bitmaps_of_same_objects_give_same_loss():
    model, outlines = head(), truth(LEFT, WHOLE)
    bitmaps = Targets(boxes=outlines.boxes, labels=outlines.labels, masks=rasterize(outlines.masks, (64, 64)))
    boxes = outlines.boxes
    assert model.losses(features(), [boxes], [outlines]) == model.losses(features(), [boxes], [bitmaps])


@pytest.mark.parametrize("norm", ["", "GN", "FrozenBN"])
def test_loss_without_objects_is_zero_with_gradients(norm):
    model = head(norm=norm)
    losses = model.losses(features(2), [BOX[:0]] * 2, [truth(), truth()])
    losses["loss_mask"].backward()
    assert losses["loss_mask"] == 0
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_objects_without_masks_are_refused():
    bare = Targets(boxes=BOX, labels=torch.tensor([1]))
    with pytest.raises(StructureError, match="load the dataset with masks"):
        head().losses(features(), [BOX], [bare])


def test_predict_gives_probabilities_of_detected_class():
    model = head()
    assert isinstance(model, RegionHead)
    say(model, 100.0, 0.0, -100.0)
    found = model.predict(features(3), [detections(1, 0), detections(0), detections(2, 1)])
    assert [tuple(each.masks.shape) for each in found] == [(1, 8, 8), (0, 8, 8), (2, 8, 8)]
    assert (found[0].masks == 1).all()
    assert (found[2].masks == 0.5).all()


def test_class_agnostic_mask_serves_all_classes():
    model = head(class_agnostic=True)
    assert model.predictor.weight.shape[0] == 1
    say(model, 100.0)
    assert (model.predict(features(), [detections(1, 2)])[0].masks == 1).all()
    assert model.losses(features(), [BOX], [truth(WHOLE, label=2)])["loss_mask"] < 1e-6


def test_custom_loss_receives_logits_regions_and_targets():
    def mean_logit(logits, proposals, targets):
        assert [len(boxes) for boxes in proposals] == [len(truth) for truth in targets] == [2, 0]
        return logits.mean()

    model = head(loss=mean_logit, loss_weight=3.0)
    say(model, 1.0, 1.0, 1.0)
    losses = model.losses(features(2), [BOX.repeat(2, 1), BOX[:0]], [truth(LEFT, WHOLE), truth()])
    assert losses == {"loss_mask": 3.0}


def test_keys_are_those_of_published_files():
    assert list(head(num_conv=2, norm="GN").state_dict()) == [
        "mask_fcn1.weight",
        "mask_fcn1.norm.weight",
        "mask_fcn1.norm.bias",
        "mask_fcn2.weight",
        "mask_fcn2.norm.weight",
        "mask_fcn2.norm.bias",
        "deconv.weight",
        "deconv.bias",
        "predictor.weight",
        "predictor.bias",
    ]


def test_levels_that_are_not_there_are_refused():
    with pytest.raises(ConfigError, match=r"MaskRCNNConvUpsampleHead.in_features: must name levels"):
        head(in_features=["p9"])


def small():
    torch.manual_seed(0)
    backbone = FPN(TorchvisionBackbone("mobilenet_v3_small", strides=[8, 16, 32]), out_channels=32)
    heads = Factory(StandardROIHeads, box_predictor=Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.2)))
    return mask_rcnn(backbone, 3, mask_head=Factory(MaskRCNNConvUpsampleHead, num_conv=1), roi_heads=heads)


def test_mask_rcnn_learns_and_predicts_masks_beside_boxes():
    model = small()
    batch = ImageBatch.stack([torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)] * 2)
    losses = model(batch, [truth(WHOLE, LEFT), truth()])
    assert set(losses) == {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg", "loss_mask"}
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    with torch.inference_mode():
        for prediction in model.eval()(batch):
            found = prediction.detections
            assert len(found) > 0
            assert found.masks.shape == (len(found), 28, 28)
            assert paste_masks(found.masks, found.boxes, found.size).shape == (len(found), 64, 64)


def test_mask_head_may_train_on_predicted_boxes():
    seen = []

    class Watching(MaskRCNNConvUpsampleHead):
        def losses(self, features, proposals, targets):
            seen.append(proposals)
            return super().losses(features, proposals, targets)

    def learn(train_on_predicted_boxes):
        torch.manual_seed(0)
        stage = StandardROIHeads(
            CHANNELS,
            STRIDES,
            3,
            heads={"mask_head": Watching},
            train_on_predicted_boxes=train_on_predicted_boxes,
        )
        with torch.no_grad():
            stage.box_predictor.bbox_pred.weight.zero_()
            stage.box_predictor.bbox_pred.bias.view(3, 4)[1] = torch.tensor([10.0, 0.0, 0.0, 0.0])
        from det_core.structures import Proposals

        stage.losses(features(), [Proposals(boxes=BOX, logits=torch.zeros(1))], [truth(WHOLE)], [(64, 64)])

    learn(False)
    learn(True)
    # One width (32 pixels) to the right, for the offset 10 weighs 10.
    torch.testing.assert_close(seen[1][0], seen[0][0] + torch.tensor([32.0, 0, 32, 0]))
