"""Windows, patches and positions."""

import pytest
import torch
from det_vitdet.layers import drop_path_rates, from_windows, padded_to, positions_at, to_windows


def test_windows_go_row_by_row_with_zero_padding():
    x = torch.arange(1.0, 7.0).reshape(1, 2, 3, 1)
    assert to_windows(x, 2)[..., 0].tolist() == [[[1, 2], [4, 5]], [[3, 0], [6, 0]]]


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 1), (3, 9)])
def test_windows_are_put_together_again(size):
    x = torch.randn(2, *size, 3)
    assert torch.equal(from_windows(to_windows(x, 3), 2, size), x)


def test_positions_at_pretraining_size_are_unchanged():
    positions = torch.randn(1, 17, 3)
    assert torch.equal(positions_at(positions, (4, 4), class_token=True), positions[:, 1:].unflatten(1, (4, 4)))


def test_positions_at_another_size_are_resampled_per_axis():
    ramp = torch.linspace(0, 7, 8).expand(8, 8).reshape(1, 64, 1)
    wide = positions_at(ramp, (4, 16), class_token=False)[0, :, :, 0]
    assert wide.shape == (4, 16)
    assert wide.mean().item() == pytest.approx(3.5, abs=1e-4)
    assert (wide[0].diff() > 0).all()
    assert torch.allclose(wide[0], wide[3])


def test_pad_to_pads_right_and_bottom_keeping_larger_images():
    found = padded_to(torch.ones(1, 3, 2, 9), 4)
    assert found.shape == (1, 3, 4, 9)
    assert found.sum() == 3 * 2 * 9
    assert padded_to(torch.ones(1, 3, 2, 9), 0).shape == (1, 3, 2, 9)


def test_drop_path_rates_rise_from_block_to_block():
    assert drop_path_rates(0.3, 4) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert drop_path_rates(0.3, 1) == [0.0]
