"""The C4 second stage: res5 on every region."""

import pytest
import torch
from det_core.backbones import ResNet
from det_core.contracts import ROIHeads
from det_core.errors import ConfigError
from det_core.models import (
    NMS,
    RPN,
    AnchorGenerator,
    FastRCNNPredictor,
    KeypointRCNNConvDeconvUpsampleHead,
    MaskRCNNConvUpsampleHead,
    Res5Blocks,
    Res5ROIHeads,
    ROIPooler,
    mask_rcnn,
)
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Polygons, Proposals, Targets

CHANNELS, STRIDES = {"res4": 8}, {"res4": 16}
SIZES = [(64, 64), (64, 64)]
BOX = [0.0, 0.0, 32.0, 32.0]
TRUTH = Targets(
    boxes=torch.tensor([BOX]), labels=torch.tensor([2]), masks=Polygons.of([[[0, 0, 32, 0, 32, 32, 0, 32]]])
)
NOTHING = Targets(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64), masks=Polygons.of([]))
MASKS = {"mask_head": Factory(MaskRCNNConvUpsampleHead, num_conv=0, conv_dim=8)}


def stage(**options):
    torch.manual_seed(0)
    pooler = Factory(ROIPooler, resolution=6)
    options = {"res5": Res5Blocks(out_channels=16, width_per_group=1), "pooler": pooler, **options}
    return Res5ROIHeads(CHANNELS, STRIDES, 3, **options)


def features(images=2):
    return {"res4": torch.randn(images, 8, 4, 4, generator=torch.Generator().manual_seed(1))}


def proposals(*boxes):
    return Proposals(boxes=torch.tensor(boxes).reshape(-1, 4), logits=torch.zeros(len(boxes)))


def test_region_score_is_from_mean_of_res5_features():
    model = stage()
    assert isinstance(model, ROIHeads)
    pooled = model.pooler([features(1)["res4"]], [torch.tensor([BOX])])
    assert pooled.shape == (1, 8, 6, 6)
    assert model.res5(pooled).shape == (1, 16, 3, 3)
    logits, _ = model.box_predictor(model.res5(pooled).mean(dim=(2, 3)))
    found = stage(box_predictor=Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.0))).predict(
        features(1), [proposals(BOX)], SIZES[:1]
    )
    torch.testing.assert_close(found[0].scores, logits.softmax(1)[0, :-1].sort(descending=True).values)


@pytest.mark.parametrize("given", [[proposals(BOX)] * 2, [proposals()] * 2])
@pytest.mark.parametrize("truth", [[TRUTH, NOTHING], [NOTHING, NOTHING]])
def test_losses_reach_every_parameter_with_and_without_objects(given, truth):
    model = stage(heads=MASKS)
    losses = model.losses(features(), given, truth, SIZES)
    assert set(losses) == {"loss_cls", "loss_box_reg", "loss_mask"}
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_masks_are_read_off_the_same_maps():
    model = stage(heads=MASKS, box_predictor=Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.0)))
    found = model.predict(features(), [proposals(BOX), proposals()], SIZES)
    assert [tuple(each.masks.shape) for each in found] == [(3, 6, 6), (0, 6, 6)]


def test_keys_are_those_of_published_files():
    names = stage(heads=MASKS).state_dict()
    for name in ("res5.0.shortcut.weight", "res5.0.conv2.norm.running_mean", "mask_head.deconv.weight"):
        assert name in names
    assert names["res5.2.conv2.weight"].shape == (8, 8, 3, 3)


def test_several_levels_and_heads_without_pooled_methods_are_refused():
    with pytest.raises(ConfigError, match="must name one level"):
        Res5ROIHeads({"res3": 8, "res4": 8}, {"res3": 8, "res4": 16}, 3)
    with pytest.raises(ConfigError, match=r"heads.points: must accept pooled features"):
        stage(heads={"points": KeypointRCNNConvDeconvUpsampleHead})


def test_mask_rcnn_c4_learns_and_predicts():
    torch.manual_seed(0)
    model = mask_rcnn(
        ResNet(50, out_features=["res4"], res2_channels=32, width_per_group=4),
        3,
        mask_head=MASKS["mask_head"],
        proposal_generator=Factory(RPN, anchor_generator=Factory(AnchorGenerator, sizes=[[32, 64]])),
        roi_heads=Factory(
            Res5ROIHeads,
            res5=Res5Blocks(out_channels=32, width_per_group=4),
            box_predictor=Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.2)),
        ),
    )
    batch = ImageBatch.stack([torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)] * 2)
    losses = model(batch, [TRUTH, NOTHING])
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    with torch.inference_mode():
        for prediction in model.eval()(batch):
            assert prediction.detections.masks.shape[0] == len(prediction.detections)
