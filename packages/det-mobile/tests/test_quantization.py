"""Rounding as int8 rounds, and a training with it that can be stopped and resumed."""

from types import SimpleNamespace

import pytest
import torch
from det_core.errors import ConfigError
from det_core.predict.optimize import fold_norms
from det_mobile.quantization import FakeQuantization, QuantizationAware
from small import built, c4_tree, images, objects
from torch import nn


class Chain(nn.Module):
    """A convolution with its norm, and a layer."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.body(x).mean((2, 3)))


def chain(seed=0):
    torch.manual_seed(seed)
    model = Chain().eval()
    model.body[1].running_var.uniform_(0.5, 2)
    model.body[1].running_mean.normal_()
    return model


def test_weights_are_rounded_as_those_of_the_folded_layer():
    model, x = chain(), torch.rand(2, 3, 6, 6)
    rounding = FakeQuantization(model, keep_float=["last"])
    rounding.observing = "always"
    rounding.attach()
    output = model.body(x)
    rounding.detach()
    folded = chain()
    assert fold_norms(folded) == 1
    weight = folded.body[0].weight
    scale = weight.flatten(1).abs().amax(1).div(127)[:, None, None, None]
    weight.data = (weight / scale).round() * scale
    step = float(x.max()) / 255
    assert torch.allclose(output, folded.body((x / step).round() * step), atol=1e-4)
    assert not torch.allclose(output, model.body(x), atol=1e-4)


def test_detached_layers_are_as_before():
    model, x = chain(), torch.rand(2, 3, 6, 6)
    before, names = model(x), list(model.state_dict())
    rounding = FakeQuantization(model)
    rounding.observing = "always"
    rounding.attach()
    assert not torch.equal(model(x), before)
    assert list(model.state_dict()) == names
    rounding.detach()
    assert torch.equal(model(x), before)


def test_gradients_pass_through_the_rounding():
    model = chain().train()
    rounding = FakeQuantization(model)
    rounding.attach()
    model(torch.rand(2, 3, 6, 6)).sum().backward()
    assert all(float(parameter.grad.abs().sum()) > 0 for parameter in model.last.parameters())
    assert torch.isfinite(model.body[0].weight.grad).all()


def test_ranges_hold_zero_and_follow_training_alone():
    model = chain().train()
    rounding = FakeQuantization(model)
    rounding.attach()
    model(torch.full((2, 3, 6, 6), 2.0))
    assert rounding.ranges["body.0"].tolist() == [0.0, 2.0]
    model.eval()(torch.full((2, 3, 6, 6), 9.0))
    assert rounding.ranges["body.0"].tolist() == [0.0, 2.0]


@pytest.mark.parametrize(("names", "problem"), [(["head"], "matches no"), (["body", "last"], "leaves no layer")])
def test_wrong_names_of_float_layers_are_refused(names, problem):
    with pytest.raises(ConfigError, match=problem):
        FakeQuantization(Chain(), names)


def test_negative_step_is_refused():
    with pytest.raises(ConfigError, match="at least 0"):
        QuantizationAware(freeze_norms=-1)


def run(callback, steps, model, optimizer, first=0):
    """Steps of a training that calls back as the trainer does."""
    trainer = SimpleNamespace(model=model, step=first, device=torch.device("cpu"))
    callback.on_start(trainer)
    for _ in range(steps):
        model.train()
        callback.before_step(trainer, [])
        torch.manual_seed(trainer.step)
        optimizer.zero_grad()
        sum(model(images(), [objects(), objects()]).values()).backward()
        optimizer.step()
        trainer.step += 1
    state = callback.state_dict()
    callback.on_end(trainer)
    return state


def start():
    model = built(c4_tree())
    return model, torch.optim.SGD(model.parameters(), lr=0.01)


def test_stopped_training_resumes_exactly():
    schedule = {"start": 1, "freeze_ranges": 3, "freeze_norms": 2}
    model, optimizer = start()
    whole = run(QuantizationAware(**schedule), 4, model, optimizer)
    other, second = start()
    state = run(QuantizationAware(**schedule), 2, other, second)
    resumed = QuantizationAware(**schedule)
    resumed.load_state_dict(state)
    again = run(resumed, 2, other, second, first=2)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    assert whole["ranges"].keys() == again["ranges"].keys()
    assert all(torch.equal(whole["ranges"][name], again["ranges"][name]) for name in whole["ranges"])


def test_schedule_freezes_ranges_and_norms():
    model, optimizer = start()
    callback = QuantizationAware(freeze_ranges=1, freeze_norms=1)
    first = run(callback, 1, model, optimizer)["ranges"]
    norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    mean = norm.running_mean.clone()
    resumed = QuantizationAware(freeze_ranges=1, freeze_norms=1)
    resumed.load_state_dict({"ranges": first})
    second = run(resumed, 1, model, optimizer, first=1)["ranges"]
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(norm.running_mean, mean)
    assert model.state_dict().keys() == built(c4_tree()).state_dict().keys()
