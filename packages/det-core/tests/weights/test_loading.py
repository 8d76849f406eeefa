"""Weights go into a model as a whole or not at all, and nothing is left out silently."""

import logging

import pytest
import torch
from det_core.backbones import TorchvisionBackbone
from det_core.errors import DetWarning, WeightsError
from det_core.ops.layers import FrozenBatchNorm2d
from det_core.weights import InitialWeights, load_into
from safetensors.torch import save_file
from torch import nn


class Net(nn.Module):
    def __init__(self, classes=3, norm=nn.BatchNorm2d):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 1), norm(2))
        self.head = nn.Linear(2, classes)


def state_of(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_equal_names_and_shapes_are_loaded():
    given, model = state_of(Net()), Net()
    report = load_into(model, given)
    assert equal(state_of(model), given)
    assert (report.loaded, report.unused, report.not_loaded, report.counters) == (9, (), (), 0)


def test_load_into_wrong_names_error_counts_and_suggests_nearest():
    model = Net()
    given, before = state_of(Net(classes=5)), state_of(model)
    given["body.0.wieght"] = given.pop("body.0.weight")
    with pytest.raises(WeightsError) as error:
        load_into(model, given, "net.pth")
    message = str(error.value)
    assert message.startswith("net.pth: does not fit Net; 1 tensor missing: body.0.weight (near body.0.wieght); ")
    assert "1 tensor without a place: body.0.wieght (near body.0.weight)" in message
    assert message.endswith("in a recipe, weights.into names their part, weights.skip parts they lack")
    assert "2 tensors of another shape: head.weight (5, 2) instead of (3, 2), head.bias (5,) instead of (3,)" in message
    assert equal(state_of(model), before)


def test_of_many_names_three_are_shown():
    with pytest.raises(WeightsError, match=r"12 tensors without a place: .* x2 and 9 more;"):
        load_into(nn.Linear(1, 1), {**nn.Linear(1, 1).state_dict(), **{f"x{i}": torch.zeros(1) for i in range(12)}})


def test_single_parameter_may_keep_its_initial_value():
    given, model = state_of(Net()), Net()
    before = state_of(model)
    del given["head.bias"]
    report = load_into(model, given, skip=["*.bias"])
    assert report.not_loaded == ("body.0.bias", "body.1.bias", "head.bias")
    assert torch.equal(model.head.bias, before["head.bias"])
    assert torch.equal(model.head.weight, given["head.weight"])


@pytest.mark.parametrize(
    ("from_norm", "into_norm"), [(nn.BatchNorm2d, FrozenBatchNorm2d), (FrozenBatchNorm2d, nn.BatchNorm2d)]
)
def test_counters_of_batches_may_be_missing_on_either_side(from_norm, into_norm):
    report = load_into(Net(norm=into_norm), state_of(Net(norm=from_norm)))
    assert report.counters == 1
    assert "1 batch-norm counter" in str(report)


def test_load_into_skipped_parts_keep_values_and_are_reported():
    model = Net(classes=5)
    before = state_of(model)
    report = load_into(model, state_of(Net()), skip=["head"])
    assert report.not_loaded == ("head.weight", "head.bias")
    assert torch.equal(model.head.weight, before["head.weight"])
    assert not torch.equal(model.body[0].weight, before["body.0.weight"])
    with pytest.raises(WeightsError, match=r"no part 'heads'; did you mean 'head'"):
        load_into(model, state_of(Net()), skip=["heads"])


def test_weights_of_another_precision_are_converted():
    model = Net()
    load_into(model, {key: value.half() for key, value in state_of(Net()).items()})
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_load_into_classifier_weights_fill_backbone_leftover_named(tmp_path, caplog, name):
    import torchvision

    network = torchvision.models.get_model(name)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    model = nn.ModuleDict({"bottom_up": TorchvisionBackbone(name)})
    with caplog.at_level(logging.WARNING):
        report = InitialWeights(str(tmp_path / "w.pth"), into="bottom_up").load(model)
    head = "classifier.1" if name == "mobilenet_v2" else "fc"
    assert report.unused == (f"{head}.weight", f"{head}.bias")
    assert report.loaded == len(network.state_dict()) - 2  # counters of batches, which frozen norms keep, among them
    assert f"{head}.weight" in caplog.text
    own = model.bottom_up.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in network.state_dict().items() if key in own)


def test_part_still_needs_all_of_its_weights(tmp_path):
    state = {"weight": torch.zeros(3, 2), "more": torch.zeros(1)}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="1 tensor missing: bias; 1 tensor without a place: more"):
        InitialWeights(str(tmp_path / "w.safetensors"), into="head").load(Net())


def test_part_that_is_not_there_is_named(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"weights\.into: Net has no part 'boddy'; did you mean 'body'"):
        InitialWeights(str(tmp_path / "w.safetensors"), into="boddy").load(Net())


def test_load_into_without_part_leftover_weights_refused(tmp_path):
    save_file({**state_of(Net()), "more": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="1 tensor without a place: more"):
        InitialWeights(str(tmp_path / "w.safetensors")).load(Net())


def test_number_may_be_stored_as_a_list_of_one():
    given, model = state_of(Net()), Net()
    given["body.1.num_batches_tracked"] = torch.tensor([7])
    load_into(model, given)
    assert model.body[1].num_batches_tracked.item() == 7
    with pytest.raises(WeightsError, match="another shape"):
        load_into(model, {**given, "body.1.num_batches_tracked": torch.tensor([7, 8])})


def test_load_into_moved_stage_takes_weights_by_name(tmp_path):
    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.ModuleDict({"res4": nn.Linear(2, 2)})
            self.heads = nn.ModuleDict({"res5": nn.Linear(2, 2), "score": nn.Linear(2, 2)})

    file = nn.ModuleDict({"res4": nn.Linear(2, 2), "res5": nn.Linear(2, 2), "classify": nn.Linear(2, 2)})
    save_file(file.state_dict(), tmp_path / "w.safetensors")
    model = Detector()
    before = model.heads["score"].weight.clone()
    report = InitialWeights(str(tmp_path / "w.safetensors"), into="backbone", also=["heads.res5"]).load(model)
    assert torch.equal(model.backbone["res4"].weight, file["res4"].weight)
    assert torch.equal(model.heads["res5"].weight, file["res5"].weight)
    assert torch.equal(model.heads["score"].weight, before)
    assert set(report.unused) == {"classify.bias", "classify.weight"}


def test_infinite_weights_are_loaded_with_warning_that_names_them():
    model = nn.Linear(2, 1)
    state = {"weight": torch.tensor([[1.0, float("inf")]]), "bias": torch.zeros(1)}
    with pytest.warns(DetWarning, match=r"^file\.pth: holds infinity in 1 tensor: weight; such a model may"):
        load_into(model, state, "file.pth")
    assert model.weight.isinf().sum() == 1


def test_load_into_by_shape_other_classes_kept_and_reported():
    given, model = state_of(Net(classes=5)), Net()
    before = state_of(model)
    given["tail.weight"] = torch.zeros(3)
    report = load_into(model, given, by_shape=True)
    after = state_of(model)
    assert all(torch.equal(after[key], given[key]) for key in after if key.startswith("body"))
    assert all(torch.equal(after[key], before[key]) for key in after if key.startswith("head"))
    assert (report.not_loaded, report.unused, report.loaded) == (("head.weight", "head.bias"), ("tail.weight",), 7)


def test_load_into_by_shape_missing_weights_keep_model_values():
    given, model = state_of(Net()), Net()
    del given["body.0.bias"]
    assert load_into(model, given, by_shape=True).not_loaded == ("body.0.bias",)


def test_load_into_by_shape_another_model_is_refused():
    given = {f"other.{key}": value for key, value in state_of(Net()).items()}
    model = Net()
    before = state_of(model)
    with pytest.raises(WeightsError, match=r"x: does not fit Net; 0 of 8 tensors have the name and shape of one in"):
        load_into(model, given, "x", by_shape=True)
    assert equal(state_of(model), before)


def test_initial_weights_by_shape_log_lists_random_parts(tmp_path, caplog):
    save_file(state_of(Net(classes=5)), tmp_path / "a.safetensors")
    with caplog.at_level(logging.WARNING):
        report = InitialWeights(str(tmp_path / "a.safetensors"), match="shapes").load(Net())
    assert report.not_loaded == ("head.weight", "head.bias")
    assert "2 in the model keep their initial values: head.weight, head.bias" in caplog.text
    with pytest.raises(WeightsError, match="2 tensors of another shape"):
        InitialWeights(str(tmp_path / "a.safetensors")).load(Net())
