"""What a detector gains in speed it does not lose in anything else."""

import pytest
import torch
from det_core import Detector
from det_core.backbones import FPN, Deformation, RegNet, ResNet, TorchvisionBackbone
from det_core.models import DenseDetector, RetinaNetHead, TowerLayers, mask_rcnn
from det_core.ops.layers import BatchStatBatchNorm2d, Conv2d, FrozenBatchNorm2d
from det_core.predict import optimize
from det_core.predict.optimize import fold_norms
from det_core.recipes import Factory
from det_core.structures import ImageBatch
from torch import nn

NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)


def lively(model):
    """Give batch norms other numbers than those that change nothing, and the scores some spread."""
    random = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, NORMS):
            for name, low in (("weight", 0.8), ("bias", -0.1), ("running_mean", -0.1), ("running_var", 0.8)):
                values = getattr(module, name)
                values.data.copy_(low + 0.4 * torch.rand(values.shape, generator=random))
    return model.eval()


def small_mask_rcnn(bottom_up=None, **options):
    torch.manual_seed(0)
    backbone = FPN(bottom_up or ResNet(18, res2_channels=8, stem_channels=8, **options), out_channels=16)
    model = lively(mask_rcnn(backbone, 2))
    nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=1.0)
    return model


def small_retinanet(**options):
    torch.manual_seed(0)
    bottom_up = ResNet(18, res2_channels=8, stem_channels=8, out_features=["res3", "res4", "res5"])
    backbone = FPN(bottom_up, out_channels=64, top="convolutions")
    model = lively(DenseDetector(backbone, Factory(RetinaNetHead, **options), 2))
    for module in model.head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    with torch.no_grad():
        outputs = model.head(model.backbone(torch.randn(1, 3, 96, 128)))
        model.head.cls_score.weight.div_(torch.cat(outputs.logits, 1).std())
        model.head.bbox_pred.weight.div_(torch.cat(outputs.offsets, 1).std() * 10)
    nn.init.constant_(model.head.cls_score.bias, -2.0)
    return model


@pytest.fixture
def batch():
    return ImageBatch.stack([torch.randint(0, 256, (3, 96, 128), generator=torch.Generator().manual_seed(1))])


def same(model, faster, batch):
    with torch.no_grad():
        [expected], [given] = model(batch), faster(batch)
    expected, given = expected.detections, given.detections
    assert len(expected) > 10
    assert expected.labels.tolist() == given.labels.tolist()
    torch.testing.assert_close(given.boxes, expected.boxes, rtol=0, atol=0.01)
    torch.testing.assert_close(given.scores, expected.scores, rtol=0, atol=1e-4)
    if expected.masks is not None:
        torch.testing.assert_close(given.masks, expected.masks, rtol=0, atol=1e-3)


@pytest.mark.parametrize("make", [small_mask_rcnn, small_retinanet])
def test_optimize_copy_predicts_same_and_original_is_unchanged(make, batch):
    model = make()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    faster = optimize(model)
    same(model, faster, batch)
    assert not [module for module in faster.modules() if isinstance(module, NORMS)]
    assert list(model.state_dict()) == list(before)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
        assert value.stride() == before[key].stride()


@pytest.mark.parametrize(
    "make",
    [
        lambda: RegNet(6, 16, 16.0, 2.0, 8, se_ratio=0.25, norm="BN"),
        lambda: TorchvisionBackbone("mobilenet_v2", norm="BN"),
        lambda: TorchvisionBackbone("resnet18"),
        lambda: ResNet(res2_channels=16, width_per_group=8, stem_channels=8, norm="BN"),
    ],
    ids=["regnet", "torchvision mobilenet", "torchvision resnet", "resnet"],
)
def test_optimize_folds_all_batch_norms_of_core_backbones(make):
    torch.manual_seed(0)
    model = lively(make())
    pixels = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = model(pixels)
        assert fold_norms(model) > 5
        given = model(pixels)
        assert fold_norms(model) == 0
    assert not [module for module in model.modules() if isinstance(module, NORMS)]
    for name, level in expected.items():
        torch.testing.assert_close(given[name], level, rtol=1e-3, atol=1e-4 * level.abs().max().item())


def test_optimize_folds_norm_into_deformable_convolution(batch):
    torch.manual_seed(0)
    options = {"depth": 50, "width_per_group": 8, "deformation": Deformation(["res4"], "v2")}
    model = small_mask_rcnn(ResNet(res2_channels=8, stem_channels=8, norm="BN", **options))
    for name, module in model.named_modules():
        if name.endswith("conv2_offset"):
            nn.init.normal_(module.weight, std=0.01)
    same(model, optimize(model), batch)


def test_optimize_keeps_group_and_batch_statistics_norms(batch):
    model = small_retinanet(tower=TowerLayers(norm="GN"))
    faster = optimize(model)
    assert sum(isinstance(module, nn.GroupNorm) for module in faster.modules()) == 8
    same(model, faster, batch)
    conv = Conv2d(3, 4, 3, norm="BatchStatBN")
    assert fold_norms(conv) == 0
    assert isinstance(conv.norm, BatchStatBatchNorm2d)


class Odd(nn.Module):
    """Runs its children by `order`; the convolution's own output may be read as well."""

    def __init__(self, order, also_raw=False):
        super().__init__()
        self.conv, self.bn, self.order, self.also_raw = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), order, also_raw

    def forward(self, x):
        for name in self.order:
            raw, x = x, self.get_submodule(name)(x)
        return x + raw if self.also_raw else x


@pytest.mark.parametrize(
    "module",
    [
        Odd(["bn", "conv"]),
        Odd(["conv", "bn", "conv", "bn"]),
        Odd(["conv", "bn"], also_raw=True),
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.InstanceNorm2d(3)),
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)),
    ],
    ids=["norm first", "twice", "read by another", "of another kind", "activation between"],
)
def test_optimize_keeps_norm_separated_from_its_convolution(module):
    lively(module)
    assert fold_norms(module) == 0


def test_optimize_shared_convolution_keeps_both_norms():
    conv = nn.Conv2d(3, 3, 1)
    module = lively(nn.ModuleList(nn.Sequential(conv, nn.BatchNorm2d(3)) for _ in range(2)))
    assert fold_norms(module) == 0


def test_optimize_bf16_scores_are_close_and_outputs_float32(batch):
    model = small_retinanet()
    faster = optimize(optimize(model, precision="bf16"), precision="bf16")
    with torch.no_grad():
        [expected], [given] = model(batch), faster(batch)
    assert {value.dtype for value in (given.detections.boxes, given.detections.scores)} == {torch.float32}
    difference = (given.detections.scores[:10] - expected.detections.scores[:10]).abs().max()
    assert 0 < difference < 0.02
    numbers = {type(m).__name__: p.dtype for m in faster.modules() for p in m.parameters(recurse=False)}
    assert numbers == {"Conv2d": torch.bfloat16}


def test_optimize_compiled_model_keeps_state_dict_keys():
    model = small_retinanet()
    plain, compiled = optimize(model), optimize(model, compiled=True).model
    assert list(plain.state_dict()) == list(compiled.state_dict())
    assert compiled.backbone._compiled_call_impl is not None
    assert model.backbone._compiled_call_impl is None


@pytest.mark.parametrize("make", [small_mask_rcnn, small_retinanet])
def test_optimize_threshold_drops_only_detections_below(make, batch):
    model = make()
    with torch.no_grad():
        if make is small_mask_rcnn:
            model.roi_heads.box_predictor.cls_score.weight.mul_(0.01)  # scores below 1
        [every] = model(batch)
        threshold = float(every.detections.scores.sort().values[len(every.detections) // 2])
        [rest] = optimize(model, fold=False, channels_last=False, threshold=threshold)(batch)
    expected = every.detections[every.detections.scores >= threshold]
    assert 5 < len(expected) < len(every.detections)
    assert torch.equal(rest.detections.boxes, expected.boxes)
    assert torch.equal(rest.detections.scores, expected.scores)
    if expected.masks is not None:
        torch.testing.assert_close(rest.detections.masks, expected.masks)


def test_detector_optimize_returns_faster_copy(batch):
    detector = Detector(small_mask_rcnn(), ["red", "blue"], device="cpu")
    faster = detector.optimize()
    image = batch.pixels[0].to(torch.uint8)
    assert faster.classes == detector.classes
    assert faster.model is not detector.model
    given, expected = faster(image, threshold=0.1), detector(image, threshold=0.1)
    assert len(expected) > 0
    torch.testing.assert_close(given.detections.boxes, expected.detections.boxes, rtol=0, atol=0.01)
