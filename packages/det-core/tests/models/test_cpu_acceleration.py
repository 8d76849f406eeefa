"""Faster ways on a CPU: what they replace, and that training agrees with and without them."""

import many_processes
import pytest
import torch
import torchvision
from det_core.models import cpu_acceleration
from det_core.models.heads.rpn import RPN, run_head
from det_core.ops.roi import ROIPooler
from torch import nn


@pytest.mark.parametrize("on", [True, False])
def test_accelerate_environment_switches_it_off(monkeypatch, on):
    monkeypatch.setenv("DET_ACCELERATE", "1" if on else "0")
    modules = list(cpu_acceleration.accelerate(many_processes.MODELS["mask"]()).modules())
    [rpn] = [module for module in modules if isinstance(module, RPN)]
    poolers = [module for module in modules if isinstance(module, ROIPooler)]
    assert (rpn.run_head is run_head) != on
    assert len(poolers) == 2
    assert all((pooler.roi_align is torchvision.ops.roi_align) != on for pooler in poolers)


def test_accelerated_gradients_equal_those_of_the_plain_model(monkeypatch):
    found = {}
    for value in ("1", "0"):
        monkeypatch.setenv("DET_ACCELERATE", value)
        found[value] = many_processes.gradients(["mask"], steps=1)["mask"]
    (losses, gradients, _), (plain_losses, plain_gradients, _) = found["1"], found["0"]
    assert losses == pytest.approx(plain_losses, rel=1e-4)
    largest = max(value.abs().max() for value in plain_gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, plain_gradients[name], rtol=1e-3, atol=1e-4 * float(largest))


def test_accelerate_convolution_weights_are_channels_last_until_removed():
    model = many_processes.MODELS["mask"]()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    kernels = [weight for weight in weights if weight.shape[1] > 1 and weight.shape[2] > 1]
    for on in (True, False):
        cpu_acceleration.accelerate(model, on)
        assert all(weight.is_contiguous(memory_format=torch.channels_last) == on for weight in kernels)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
