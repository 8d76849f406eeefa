"""Small layers."""

import pytest
import torch
from det_core.ops.cpu.frozen_norm import scale_and_shift_in_place
from det_core.ops.layers import Conv2d, FrozenBatchNorm2d, freeze, make_norm
from torch import nn


def trained_norm(channels=3, eps=1e-3):
    norm = nn.BatchNorm2d(channels, eps=eps)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm


def test_frozen_batch_norm_equals_evaluation_mode():
    norm, x = trained_norm(), torch.randn(2, 3, 4, 5)
    frozen = FrozenBatchNorm2d.replace(norm)
    torch.testing.assert_close(frozen.train()(x), norm.eval()(x))


def test_frozen_batch_norm_has_four_buffers_without_parameters():
    frozen = FrozenBatchNorm2d(3)
    assert sorted(frozen.state_dict()) == ["bias", "running_mean", "running_var", "weight"]
    assert not list(frozen.parameters())


def test_frozen_batch_norm_passes_gradients():
    x = torch.randn(1, 3, 2, 2, requires_grad=True)
    norm = trained_norm()
    FrozenBatchNorm2d.replace(norm)(x).sum().backward()
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    torch.testing.assert_close(x.grad, scale[:, None, None].expand(3, 2, 2)[None])


def test_frozen_batch_norm_keeps_dtype():
    assert FrozenBatchNorm2d(3)(torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_freezing_reaches_every_batch_norm_and_parameter_below():
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(trained_norm()))
    assert freeze(module) is module
    assert isinstance(module[1][0], FrozenBatchNorm2d)
    assert module[1][0].eps == 1e-3
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_layer_norm_is_over_the_channels_of_each_pixel():
    out = make_norm("LN", 8)(torch.randn(2, 8, 3, 5) * 7 + 3)
    torch.testing.assert_close(out.mean(1), torch.zeros(2, 3, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var(1, unbiased=False), torch.ones(2, 3, 5), atol=1e-4, rtol=0)


def test_batch_statistics_are_taken_in_evaluation_too():
    norm = make_norm("BatchStatBN", 1).eval()
    with torch.no_grad():
        norm.weight.fill_(3.0)
        norm.bias.fill_(1.0)
    norm.running_mean.fill_(100.0)
    x = torch.tensor([2.0, 4.0, 4.0, 6.0]).reshape(2, 1, 1, 2)  # mean 4, variance 2 (of the whole, not of a sample)
    torch.testing.assert_close(norm(x).flatten(), torch.tensor([-2.0, 0.0, 0.0, 2.0]) * 3 / 2**0.5 + 1)
    torch.testing.assert_close(norm(x), norm.train()(x))
    assert norm.running_mean.item() == pytest.approx(0.9 * 100 + 0.1 * 4)
    assert norm.eval()(x[:0]).shape == (0, 1, 1, 2)


def test_batch_statistics_have_the_state_of_a_batch_norm():
    assert make_norm("BatchStatBN", 5).state_dict().keys() == nn.BatchNorm2d(5).state_dict().keys()


@pytest.mark.parametrize("norm", ["", "BN", "SyncBN", "FrozenBN", "BatchStatBN", "GN", "LN"])
def test_convolution_with_norm_lacks_bias_and_accepts_empty_batch(norm):
    conv = Conv2d(3, 32, 3, norm=norm, activation=torch.relu)
    assert (conv.bias is None) == bool(norm)
    out = conv.train()(torch.randn(2, 3, 5, 7))
    assert out.shape == (2, 32, 5, 7)
    assert (out >= 0).all()
    before = {key: value.clone() for key, value in conv.state_dict().items() if "running" in key}
    assert conv(torch.randn(0, 3, 5, 7)).shape == (0, 32, 5, 7)
    assert all(torch.equal(value, conv.state_dict()[key]) for key, value in before.items())


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "size"), [(1, 2, 1, 4), (3, 2, 1, 4), (3, 1, 2, 7), (7, 2, 1, 4)]
)
def test_padding_keeps_the_size_up_to_the_stride(kernel, stride, dilation, size):
    conv = Conv2d(3, 4, kernel, stride=stride, dilation=dilation)
    assert conv(torch.zeros(1, 3, 7, 7)).shape == (1, 4, size, size)


def test_frozen_batch_norm_keeps_counter_of_trained_norm():
    live = nn.BatchNorm2d(2)
    assert FrozenBatchNorm2d.replace(live).state_dict().keys() == live.state_dict().keys()
    assert "num_batches_tracked" not in FrozenBatchNorm2d(2).state_dict()


def test_frozen_norm_in_place_is_bit_identical():
    torch.manual_seed(0)
    norm, x = FrozenBatchNorm2d.replace(trained_norm(4)), torch.randn(2, 4, 9, 7, requires_grad=True)
    expected = norm(x)
    over = x * 1.0  # a tensor of its own, as a convolution's result is
    norm.scale_and_shift = scale_and_shift_in_place
    out = norm(over)
    assert torch.equal(out, expected)
    assert out.data_ptr() == over.data_ptr()
    direction = torch.randn_like(x)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, direction)[0] for y in (out, expected)), rtol=0, atol=0)


def test_convolution_with_frozen_norm_has_gradients_of_its_parts():
    torch.manual_seed(0)
    conv = Conv2d(3, 4, 3, norm="FrozenBN", activation=torch.relu_)
    conv.norm = FrozenBatchNorm2d.replace(trained_norm(4))
    x = torch.randn(2, 3, 9, 7, requires_grad=True)
    parts = torch.relu(conv.norm(nn.functional.conv2d(x, conv.weight, padding=1)))
    learnt = [torch.autograd.grad(y.square().sum(), (x, conv.weight)) for y in (conv(x), parts)]
    torch.testing.assert_close(*learnt)
