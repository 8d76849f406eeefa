"""Whole models learn a few images by heart, predict segments, and their dense part is exported."""

import panoptic_files
import pytest
import torch
from det_core.backbones import FPN, TorchvisionBackbone
from det_core.engine import predict
from det_core.errors import StructureError
from det_core.models import FastRCNNConvFCHead, MaskRCNNConvUpsampleHead, StandardROIHeads
from det_core.recipes import Factory
from det_core.structures import Detections, ImageBatch, Prediction, SemanticMap, Targets
from det_panoptic.data import CocoPanoptic
from det_panoptic.deeplab import DeepLabDecoder
from det_panoptic.evaluation import PanopticQuality
from det_panoptic.grouping import Grouping
from det_panoptic.merging import Merging
from det_panoptic.panoptic_deeplab import PanopticDeepLab, PanopticDeepLabInsEmbedHead, PanopticDeepLabSemSegHead
from det_panoptic.panoptic_fpn import PanopticFPN
from det_panoptic.semantic import SemSegFPNHead
from det_panoptic.targets import TargetGenerator
from torch import nn

DECODER = {
    "in_features": ("c2", "c3", "c4"),
    "project_channels": (8, 16),
    "decoder_channels": 32,
    "aspp_channels": 32,
    "norm": "BN",
    "aspp_dropout": 0.0,
}


def deeplab():
    torch.manual_seed(0)
    return PanopticDeepLab(
        TorchvisionBackbone("resnet18", strides=[4, 8, 16], norm="BN"),
        num_classes=4,
        things=(0, 1),
        sem_seg_head=Factory(PanopticDeepLabSemSegHead, decoder=Factory(DeepLabDecoder, **DECODER), head_channels=16),
        ins_embed_head=Factory(
            PanopticDeepLabInsEmbedHead, decoder=Factory(DeepLabDecoder, **DECODER), head_channels=16
        ),
        grouping=Factory(Grouping, stuff_area=20, nms_kernel=5),
        targets=TargetGenerator(sigma=2, small_area=0),
    )


def panoptic_fpn():
    torch.manual_seed(0)
    return PanopticFPN(
        FPN(TorchvisionBackbone("resnet18", norm="BN"), out_channels=32),
        num_things=2,
        num_stuff=2,
        roi_heads=Factory(StandardROIHeads, box_head=Factory(FastRCNNConvFCHead, fc_dim=32)),
        mask_head=Factory(MaskRCNNConvUpsampleHead, num_conv=1, conv_dim=16),
        sem_seg_head=Factory(SemSegFPNHead, conv_dim=32),
    )


def samples(folder, **rest):
    dataset = CocoPanoptic(**panoptic_files.write(folder), **rest)
    return dataset, [dataset[index] for index in range(len(dataset))]


def learn(model, batch, targets, steps, rate):
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=rate), []
    for _ in range(steps):
        loss = torch.stack(list(model.train()(batch, targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def quality(model, batch, dataset, those):
    """PQ of the model, in the mode that it is in."""
    evaluator = PanopticQuality(dataset.classes)
    with torch.no_grad():
        for prediction, sample in zip(model(batch), those, strict=True):
            evaluator.update(prediction, sample)
    return evaluator.result()["panoptic/PQ"]


@pytest.mark.slow
def test_panoptic_deeplab_learns_three_images_by_heart(tmp_path):
    dataset, those = samples(tmp_path)
    batch, model = ImageBatch.stack([each.image for each in those]), deeplab()
    losses = learn(model, batch, [each.targets for each in those], steps=150, rate=3e-3)
    assert losses[-1] < losses[0] / 5
    # Statistics of so few steps lag behind: those of the batch are what it learnt with.
    assert quality(model, batch, dataset, those) > 0.6


@pytest.mark.slow
def test_panoptic_fpn_learns_three_images_by_heart(tmp_path):
    dataset, those = samples(tmp_path, semantic="stuff", masks=True)
    batch, model = ImageBatch.stack([each.image for each in those]), panoptic_fpn()
    model.merging = Merging(stuff_area=20)
    losses = learn(model, batch, [each.targets for each in those], steps=100, rate=2e-3)
    assert losses[-1] < losses[0] / 4
    assert quality(model, batch, dataset, those) > 0.5


def test_panoptic_fpn_losses_of_both_branches_decrease(tmp_path):
    _, those = samples(tmp_path, semantic="stuff", masks=True)
    batch, model = ImageBatch.stack([each.image for each in those]), panoptic_fpn()
    targets = [each.targets for each in those]
    names = {"loss_sem_seg", "loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg", "loss_mask"}
    assert model(batch, targets).keys() == names
    losses = learn(model, batch, targets, steps=8, rate=1e-3)
    assert losses[-1] < losses[0]
    with torch.no_grad():
        for prediction in model.eval()(batch):
            assert prediction.panoptic.ids.shape == panoptic_files.SIZE
            assert prediction.semantic.logits.shape == (3, *panoptic_files.SIZE)


def test_segments_of_resized_image_have_original_size():
    model = panoptic_fpn()
    model.merging = Merging(stuff_area=0)
    logits = torch.zeros(3, 2, 2)
    logits[1, :, 0], logits[2, :, 1] = 1, 2
    found = Detections(
        boxes=torch.tensor([[0.0, 0.0, 0.5, 0.5]]),
        labels=torch.tensor([0]),
        scores=torch.tensor([0.9]),
        size=(2, 2),
        masks=torch.ones(1, 2, 2),
    )
    seen = Prediction(detections=found, semantic=SemanticMap(logits=logits))
    assert model.with_segments(seen).panoptic.segments[0]["label"] == 2  # of the thing no pixel is left
    model.forward = lambda batch, targets=None: [model.with_segments(seen)]
    images = ImageBatch(pixels=torch.zeros(1, 3, 2, 2, dtype=torch.uint8), sizes=[(2, 2)])
    (stored,) = predict(model, images, [(8, 8)])
    assert [each["label"] for each in stored.panoptic.segments] == [0, 2, 3]
    # The thing has 2 x 2 pixels, and the halves of stuff meet where the interpolated scores do.
    assert torch.bincount(stored.panoptic.ids.flatten()).tolist() == [0, 4, 24 - 4, 40]


@pytest.mark.parametrize("kept", [(7, 9), (1, 3), ()], ids=["stuff", "things", "nothing"])
@pytest.mark.parametrize(("make", "rest"), [(panoptic_fpn, {"semantic": "stuff", "masks": True}), (deeplab, {})])
def test_images_without_things_stuff_or_both_train_and_evaluate(tmp_path, make, rest, kept):
    def only(content):
        for own in content["annotations"]:
            own["segments_info"] = [each for each in own["segments_info"] if each["category_id"] in kept]

    dataset = CocoPanoptic(**panoptic_files.write(tmp_path, change=only), bad_segments="skip", **rest)
    those, model, evaluator = [dataset[0], dataset[1]], make(), PanopticQuality(dataset.classes)
    batch = ImageBatch.stack([each.image for each in those])
    losses = model(batch, [each.targets for each in those])
    torch.stack(list(losses.values())).sum().backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(each.grad.isfinite().all() for each in model.parameters() if each.grad is not None)
    with torch.no_grad():
        for prediction, sample in zip(model.eval()(batch), those, strict=True):
            evaluator.update(prediction, sample)
    figures = evaluator.result()
    assert ("panoptic/PQ_things" in figures or "panoptic/PQ_stuff" in figures) == bool(kept)
    assert all(0 <= value <= 1 for value in figures.values())


def test_batch_of_two_sizes_gives_segments_per_image(tmp_path):
    _, those = samples(tmp_path)
    images = [those[0].image, those[1].image[:, :40, :50]]
    with torch.no_grad():
        first, second = deeplab().eval()(ImageBatch.stack(images))
    assert first.panoptic.ids.shape == panoptic_files.SIZE
    assert second.panoptic.ids.shape == (40, 50)


def test_targets_without_segments_raise_error_with_fix(tmp_path):
    _, those = samples(tmp_path)
    batch = ImageBatch.stack([those[0].image])
    bare = [Targets(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))]
    with pytest.raises(StructureError, match="panoptic dataset"):
        deeplab()(batch, bare)
    with pytest.raises(StructureError, match="semantic: stuff"):
        panoptic_fpn()(batch, bare)


class Dense(nn.Module):
    """The network and the grouping, from normalised pixels to tensors."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixels):
        return tuple(self.model.grouping(*self.model.dense(pixels)))


@pytest.mark.slow
def test_network_and_grouping_export_as_one_program():
    module, pixels = Dense(deeplab().eval()), torch.randn(1, 3, 64, 96)
    program = torch.export.export(module, (pixels,)).module()
    with torch.no_grad():
        for one, other in zip(program(pixels), module(pixels), strict=True):
            torch.testing.assert_close(one, other)
