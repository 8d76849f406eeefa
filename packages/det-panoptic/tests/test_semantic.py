"""Semantic segmentation."""

import pytest
import torch
from det_core import Detector, recipes
from det_core.backbones import FPN, ResNet
from det_core.contracts import Model, SemanticHead
from det_core.errors import ConfigError, DetWarning, StructureError
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Targets
from det_panoptic.semantic import SemanticSegmentor, SemSegFPNHead
from torch import nn

CHANNELS, STRIDES = {"p2": 2, "p3": 2, "p4": 2}, {"p2": 4, "p3": 8, "p4": 16}


def features(value=1.0):
    return {name: torch.full((2, 2, 32 // stride, 48 // stride), value) for name, stride in STRIDES.items()}


def truth(semantic):
    return Targets(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64), semantic=semantic)


def model():
    torch.manual_seed(0)
    pyramid = FPN(ResNet(18, stem_channels=8, res2_channels=8), out_channels=8)
    return SemanticSegmentor(pyramid, 3, sem_seg_head=Factory(SemSegFPNHead, conv_dim=32))


BATCH = ImageBatch.stack([torch.full((3, 40, 60), 9, dtype=torch.uint8), torch.zeros(3, 33, 20, dtype=torch.uint8)])


def test_levels_are_brought_to_one_stride_and_added_up():
    head = SemSegFPNHead(CHANNELS, STRIDES, 1, conv_dim=2, norm="")
    for conv in head.modules():
        if isinstance(conv, nn.Conv2d):
            nn.init.dirac_(conv.weight)
    logits = head(features())
    assert isinstance(head, SemanticHead)
    assert logits.shape == (2, 1, 32, 48)
    assert logits.unique().tolist() == [3.0]  # the first channel of three levels


def test_scale_head_has_convolution_per_doubling_or_one():
    names = set(SemSegFPNHead(CHANNELS, STRIDES, 1, conv_dim=32).state_dict())
    assert {
        "p2.0.weight",
        "p2.0.norm.weight",
        "p3.0.weight",
        "p4.0.weight",
        "p4.2.norm.bias",
        "predictor.bias",
    } <= names
    assert not {"p2.2.weight", "p3.2.weight", "p2.0.bias"} & names


def test_loss_is_mean_over_labelled_pixels():
    head = SemSegFPNHead(CHANNELS, STRIDES, 2, conv_dim=2, norm="", loss_weight=0.5)
    logits = torch.zeros(2, 2, 2, 2)  # four pixels each
    logits[0, 0, 0, 0] = torch.log(torch.tensor(3.0))  # probability 3 / 4 of class 0
    first, second = torch.full((8, 8), 255), torch.full((6, 6), 255)
    first[0, 0], first[7, 7] = 0, 1
    expected = 0.5 * (torch.log(torch.tensor(4 / 3)) + torch.log(torch.tensor(2.0))) / 2
    torch.testing.assert_close(head.losses_of(logits, [first, second])["loss_sem_seg"], expected)


def test_losses_of_features_equal_losses_of_logits():
    head = SemSegFPNHead(CHANNELS, STRIDES, 2, conv_dim=2, norm="")
    classes = [torch.zeros(32, 48, dtype=torch.int64), torch.ones(30, 20, dtype=torch.int64)]
    coarse = head.layers(features())
    assert coarse.shape == (2, 2, 8, 12)
    assert head.losses(features(), classes) == head.losses_of(coarse, classes)


def test_unlabelled_images_have_zero_loss_with_gradients():
    segmentor = model()
    loss = segmentor(BATCH, [truth(torch.full(size, 255)) for size in BATCH.sizes])["loss_sem_seg"]
    assert loss == 0
    loss.backward()
    head = segmentor.sem_seg_head
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in head.parameters())


def test_segmentor_outputs_logits_of_image_size():
    segmentor = model().eval()
    assert isinstance(segmentor, Model)
    with torch.inference_mode():
        found = segmentor(BATCH)
        (alone,) = segmentor(ImageBatch.stack([BATCH.pixels[0, :, :40, :60]]))
    assert [tuple(p.semantic.logits.shape) for p in found] == [(3, 40, 60), (3, 33, 20)]
    torch.testing.assert_close(found[0].semantic.logits, alone.semantic.logits, rtol=1e-3, atol=1e-4)
    losses = segmentor(BATCH, [truth(torch.zeros(size, dtype=torch.int64)) for size in BATCH.sizes])
    assert losses["loss_sem_seg"] > 0
    with torch.device("meta"):
        SemanticSegmentor(FPN(ResNet(18)), num_classes=2)


def test_segmentor_targets_without_semantic_refused():
    with pytest.raises(StructureError, match=r"targets\.semantic"):
        model()(BATCH, [truth(None), truth(None)])


@pytest.mark.parametrize("options", [{"in_features": ["p9"]}, {"common_stride": 8}, {"common_stride": 3}])
def test_levels_that_do_not_fit_the_stride_are_refused(options):
    with pytest.raises(ConfigError, match="in_features"):
        SemSegFPNHead(CHANNELS, STRIDES, 1, **options)


def test_detector_nan_class_scores_warns():
    broken = model()
    broken.sem_seg_head.predictor.weight.data.fill_(float("nan"))
    with pytest.warns(DetWarning, match="the class scores hold NaN or infinity; the weights are damaged: sem_seg_head"):
        Detector(broken, ["a", "b", "c"], device="cpu")(BATCH.pixels[0])


def test_published_recipe_by_earlier_names_has_stuff_classes():
    for name in ("semantic_r50_fpn_1x", "det-core/semantic_r50_fpn_1x", "Misc/semantic_R_50_FPN_1x"):
        names = recipes.load(name).tree["data"]["val"]["classes"]
        assert (len(names), names[0], names[-1]) == (54, "things", "rug-merged")


def test_recipe_of_0_1_builds_segmentor():
    tree = {
        "model": {
            "type": "det_core.models.semantic:SemanticSegmentor",
            "backbone": {"type": "fpn", "bottom_up": {"type": "resnet", "depth": 18}},
            "num_classes": 3,
            "pixel_mean": [1.0, 2.0, 3.0],
            "sem_seg_head": {"type": "det_core.models:SemSegFPNHead", "conv_dim": 32},
        }
    }
    recipe = recipes.recipe_from_tree(tree, trusted=False)
    with torch.device("meta"):
        assert isinstance(recipe.build_model(), SemanticSegmentor)
