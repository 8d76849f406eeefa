"""Files that are older than the names they are loaded under find their places, and the report says how."""

import pytest
import torch
from det_core.backbones import FPN, Deformation, ResNet
from det_core.errors import WeightsError
from det_core.models import mask_rcnn
from det_core.weights import load_into
from torch import nn

BLOBS = {
    "stem.conv1.weight": "conv1_w",
    "stem.conv1.norm.weight": "res_conv1_bn_s",
    "stem.conv1.norm.bias": "res_conv1_bn_b",
    "res2.0.shortcut.weight": "res2_0_branch1_w",
    "res2.0.shortcut.norm.bias": "res2_0_branch1_bn_b",
    "res2.0.conv1.weight": "res2_0_branch2a_w",
    "res2.0.conv2.norm.weight": "res2_0_branch2b_bn_s",
    "res5.1.conv3.weight": "res5_1_branch2c_w",
    "fpn_lateral5.weight": "fpn_inner_res5_2_sum_w",
    "fpn_lateral4.bias": "fpn_inner_res4_5_sum_lateral_b",
    "fpn_output2.weight": "fpn_res2_2_sum_w",
    "proposal_generator.rpn_head.conv.weight": "conv_rpn_fpn2_w",
    "proposal_generator.rpn_head.objectness_logits.bias": "rpn_cls_logits_fpn2_b",
    "proposal_generator.rpn_head.anchor_deltas.weight": "rpn_bbox_pred_fpn2_w",
    "roi_heads.box_head.fc1.weight": "fc6_w",
    "roi_heads.box_head.fc2.bias": "fc7_b",
    "roi_heads.box_predictor.cls_score.weight": "cls_score_w",
    "roi_heads.box_predictor.bbox_pred.weight": "bbox_pred_w",
    "roi_heads.mask_head.mask_fcn1.weight": "_[mask]_fcn1_w",
    "roi_heads.mask_head.deconv.weight": "conv5_mask_w",
    "roi_heads.mask_head.predictor.bias": "mask_fcn_logits_b",
}


def named_by_caffe2(key):
    """The blob that Caffe2 called a parameter by, written down independently of the upgrade."""
    layer, _, kind = key.removeprefix("backbone.").removeprefix("bottom_up.").rpartition(".")
    norm = layer.endswith(".norm")
    layer = layer.removesuffix(".norm")
    end = {("weight", False): "w", ("bias", False): "b", ("weight", True): "bn_s", ("bias", True): "bn_b"}[kind, norm]
    parts = layer.split(".")
    if parts[0] == "stem":
        name = "res_conv1" if norm else "conv1"
    elif parts[0].startswith("res"):
        branch = {"shortcut": "1", "conv1": "2a", "conv2": "2b", "conv3": "2c"}[parts[2]]
        name = f"{parts[0]}_{parts[1]}_branch{branch}"
    elif parts[0].startswith("fpn"):
        level, last = int(parts[0][-1]), {2: 2, 3: 3, 4: 5, 5: 2}
        inner = "fpn_inner" if "lateral" in parts[0] else "fpn"
        lateral = "_lateral" if "lateral" in parts[0] and level < 5 else ""
        name = f"{inner}_res{level}_{last[level]}_sum{lateral}"
    else:
        name = {
            "conv": "conv_rpn_fpn2",
            "objectness_logits": "rpn_cls_logits_fpn2",
            "anchor_deltas": "rpn_bbox_pred_fpn2",
            "fc1": "fc6",
            "fc2": "fc7",
            "cls_score": "cls_score",
            "bbox_pred": "bbox_pred",
            "deconv": "conv5_mask",
            "predictor": "mask_fcn_logits",
            **{f"mask_fcn{n}": f"_[mask]_fcn{n}" for n in range(1, 5)},
        }[parts[-1]]
    return f"{name}_{end}"


def as_caffe2(state):
    """A state dict as Detectron would have stored it: merged batch norms, background first."""
    blobs = {}
    for key, value in state.items():
        if key.endswith(("running_mean", "running_var")):
            continue
        if "cls_score" in key:
            value = torch.cat((value[-1:], value[:-1]))
        elif "bbox_pred" in key:
            value = torch.cat((torch.full_like(value[:4], 99), value))
        elif "mask_head.predictor" in key:
            value = torch.cat((torch.full_like(value[:1], 99), value))
        blobs[named_by_caffe2(key)] = value
    return blobs


@pytest.mark.parametrize(("key", "blob"), BLOBS.items())
def test_names_that_these_tests_make_are_those_of_caffe2(key, blob):
    assert named_by_caffe2(key) == blob


def seeded(make, seed):
    torch.manual_seed(seed)
    return make()


def small_mask_rcnn():
    bottom_up = ResNet(depth=18, stem_channels=8, res2_channels=8)
    return mask_rcnn(backbone=FPN(bottom_up=bottom_up, out_channels=16), num_classes=3)


def test_imagenet_file_of_caffe2_fits_a_resnet():
    make = lambda: ResNet(depth=50, stem_channels=8, res2_channels=8, width_per_group=8)  # noqa: E731
    source, model = seeded(make, 1), seeded(make, 2)
    blobs = {**as_caffe2(source.state_dict()), "fc1000_w": torch.zeros(10, 4), "fc1000_b": torch.zeros(10)}
    report = load_into(model, blobs, "R-50.pkl", allow_unused=True)
    assert report.upgrades == ("Caffe2 blob names", "absent statistics of frozen batch norms")
    assert report.unused == ("fc1000.weight", "fc1000.bias")
    assert "upgraded: Caffe2 blob names, absent statistics" in str(report)
    for key, value in source.state_dict().items():
        expected = value if "running" not in key else torch.full_like(value, 0 if "mean" in key else 1 - 1e-5)
        assert torch.equal(model.state_dict()[key], expected), key


def test_caffe2_detector_loads_completely_with_background_moved():
    source, model = seeded(small_mask_rcnn, 1), seeded(small_mask_rcnn, 2)
    load_into(model, as_caffe2(source.state_dict()), "model_final.pkl")
    for key, value in source.state_dict().items():
        if "running" not in key:
            assert torch.equal(model.state_dict()[key], value), key


def test_newer_names_of_statistics_are_known_too():
    norm = nn.Module()
    norm.res2 = nn.ModuleList([nn.Module()])
    norm.res2[0].conv1 = nn.Conv2d(3, 4, 1, bias=False)
    norm.res2[0].conv1.norm = nn.BatchNorm2d(4)
    blobs = {"res2_0_branch2a_w": torch.ones(4, 3, 1, 1)}
    blobs |= {f"res2_0_branch2a_bn_{end}": torch.full((4,), float(n)) for n, end in enumerate(("s", "b", "rm", "riv"))}
    report = load_into(norm, blobs)
    assert report.upgrades == ("Caffe2 blob names",)
    assert norm.res2[0].conv1.norm.running_var.tolist() == [3.0] * 4
    assert norm.res2[0].conv1.norm.running_mean.tolist() == [2.0] * 4


def test_upgrade_buffers_of_older_files_are_skipped_and_reported():
    model = nn.Sequential(nn.Linear(2, 2))
    stored = {
        "pixel_mean": torch.zeros(3, 1, 1),
        "proposal_generator.anchor_generator.cell_anchors.0": torch.zeros(3, 4),
    }
    report = load_into(model, {**model.state_dict(), **stored})
    assert report.upgrades == ("stored buffers",)


def test_file_of_today_takes_no_upgrade():
    model = small_mask_rcnn()
    assert load_into(model, model.state_dict()).upgrades == ()


def test_file_that_lost_some_of_its_statistics_is_refused():
    model = ResNet(depth=18)
    state = model.state_dict()
    del state["res2.0.conv1.norm.running_var"]
    with pytest.raises(WeightsError, match=r"1 tensor missing: res2\.0\.conv1\.norm\.running_var"):
        load_into(model, state)


def test_load_into_skip_takes_patterns():
    model = ResNet(depth=50, deformation=Deformation(stages=["res5"]))
    state = {key: value for key, value in model.state_dict().items() if "offset" not in key}
    report = load_into(model, state, skip=["*.conv2_offset"])
    assert len(report.not_loaded) == 6
    with pytest.raises(WeightsError, match=r"has no part '\*\.conv9'"):
        load_into(model, state, skip=["*.conv9"])


class OnceCalledOld(nn.Linear):
    """Its weights once stood beside it, as old_NAME."""

    def older_weights(self, state, path):
        parent = path.rpartition(".")[0]
        old = {f"{parent}.old_{name}": f"{path}.{name}" for name in ("weight", "bias")}
        if not old.keys() <= state.keys():
            return None
        return "old names", {old.get(key, key): value for key, value in state.items()}


def test_part_of_model_knows_older_names_of_its_weights():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(OnceCalledOld(2, 1)))
    older = {key.replace("1.0.", "1.old_"): value + 1 for key, value in model.state_dict().items()}
    report = load_into(model, older)
    assert report.upgrades == ("old names",)
    assert torch.equal(model[1][0].bias, older["1.old_bias"])
    assert load_into(model, model.state_dict()).upgrades == ()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module."])
def test_prefix_of_all_names_is_taken_off_and_reported(prefix):
    source, model = nn.Linear(2, 2), nn.Linear(2, 2)
    report = load_into(model, {f"{prefix}{key}": value for key, value in source.state_dict().items()})
    assert torch.equal(model.weight, source.weight)
    assert "before all names" in str(report)


def test_upgrade_prefix_of_model_or_of_some_names_stays():
    model = nn.Module()
    model.model = nn.Linear(2, 2)
    assert load_into(model, model.state_dict()).upgrades == ()
    with pytest.raises(WeightsError, match=r"module\.weight"):
        load_into(nn.Linear(2, 2), {"module.weight": torch.ones(2, 2), "bias": torch.ones(2)})


def test_caffe2_mask_head_group_norm_names_are_translated():
    model = nn.Module()
    model.mask_head = nn.Module()
    model.mask_head.mask_fcn1 = nn.Conv2d(4, 4, 1, bias=False)
    model.mask_head.mask_fcn1.norm = nn.GroupNorm(2, 4)
    blobs = {"_mask_fcn1_w": torch.full((4, 4, 1, 1), 2.0), "conv1_w": torch.ones(1)}
    blobs |= {"_mask_fcn1_gn_s": torch.full((4,), 3.0), "_mask_fcn1_gn_b": torch.full((4,), 5.0)}
    load_into(model, blobs, allow_unused=True)
    assert model.mask_head.mask_fcn1.weight.unique().tolist() == [2.0]
    assert model.mask_head.mask_fcn1.norm.weight.tolist() == [3.0] * 4
    assert model.mask_head.mask_fcn1.norm.bias.tolist() == [5.0] * 4
