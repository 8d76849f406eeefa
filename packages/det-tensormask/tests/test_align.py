"""SwapAlign2Nat: from what pixels say of windows to what windows show."""

import itertools
import math

import pytest
import torch
from det_core.errors import StructureError
from det_tensormask.align import swap_align2nat


def noise(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def by_the_formula(masks, factor, outside):
    """One number at a time, as the paper and the published kernel define it: linear between the next of each axis."""
    side, (_, _, height, width) = math.isqrt(masks.shape[1]), masks.shape
    given = masks.reshape(-1, side, side, height, width)
    natural = masks.new_empty(len(masks), side * factor, side * factor, -(-height // factor), -(-width // factor))
    middle = side * factor / 2
    for image, v, u, y, x in itertools.product(*map(range, natural.shape)):
        at = (
            (v + 0.5) / factor - 0.5,
            (u + 0.5) / factor - 0.5,
            y * factor + v - middle + 0.5,
            x * factor + u - middle + 0.5,
        )
        value = 0.0
        for up in itertools.product((0, 1), repeat=4):
            index = [math.floor(a) + step for a, step in zip(at, up, strict=True)]
            share = math.prod(a % 1 if step else 1 - a % 1 for a, step in zip(at, up, strict=True))
            inside = all(0 <= i < n for i, n in zip(index, given.shape[1:], strict=True))
            value += share * (given[image][tuple(index)].item() if inside else outside)
        natural[image, v, u, y, x] = value
    return natural.flatten(1, 2)


def test_natural_window_of_three_parts_collects_three_pixels():
    # Part (v, u) of the window around a pixel is at the pixel (v - 1, u - 1) from it.
    masks = torch.arange(9.0).reshape(1, 9, 1, 1).expand(1, 9, 4, 5) * 100 + torch.arange(20.0).reshape(4, 5)
    natural = swap_align2nat(masks)
    assert natural.shape == (1, 9, 4, 5)
    assert natural[0, :, 1, 2].tolist() == [1, 102, 203, 306, 407, 508, 611, 712, 813]  # pixel (1, 2) is number 7
    corner = natural[0, :, 0, 0].reshape(3, 3)
    assert (corner[0] == -6).all()
    assert (corner[:, 0] == -6).all()
    assert corner[1:, 1:].tolist() == [[400, 501], [705, 806]]


def test_coarser_level_has_longer_windows_at_fewer_positions():
    # One part a window: at twice the stride it has two, both the same, at pixels 2 y - 1/2 and 2 y + 1/2.
    masks = torch.tensor([[[[0.0, 4.0, 8.0, 20.0]]]]).expand(1, 1, 4, 4)
    natural = swap_align2nat(masks, 2, outside=0.0).reshape(2, 2, 2, 2)
    # Between pixels 1 and 2 it says 6; three quarters of that are left where a quarter is outside the window.
    assert natural[1, 0, 1, 1].item() == pytest.approx(6 * 0.75 * 0.75)
    assert natural[1, 1, 1, 1].item() == pytest.approx(14 * 0.75 * 0.75)


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 4), (8, 3)])
def test_every_number_is_that_of_the_formula(side, factor, size):
    masks = noise(1, side**2, *size)
    torch.testing.assert_close(swap_align2nat(masks, factor, -2.5), by_the_formula(masks, factor, -2.5))


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_it_is_linear_and_its_gradient_is_its_transpose(factor):
    assert torch.autograd.gradcheck(
        lambda x: swap_align2nat(x, factor), noise(2, 4, 5, 3, dtype=torch.float64).requires_grad_()
    )
    a, b = noise(1, 9, 4, 4), noise(2, 9, 4, 4)[1:]
    torch.testing.assert_close(
        swap_align2nat(2 * a + b, factor, 0.0), 2 * swap_align2nat(a, factor, 0.0) + swap_align2nat(b, factor, 0.0)
    )


def test_swap_batch_equals_single_images_and_keeps_empty_batch():
    masks = noise(3, 9, 6, 5)
    together = swap_align2nat(masks, 2)
    assert torch.equal(together, torch.cat([swap_align2nat(each[None], 2) for each in masks]))
    assert swap_align2nat(masks[:0], 2).shape == (0, 36, 3, 3)


def test_swap_of_constant_map_is_constant():
    torch.testing.assert_close(swap_align2nat(torch.full((1, 25, 7, 9), -6.0), 4), torch.full((1, 400, 2, 3), -6.0))


def test_numbers_of_half_precision_stay_so():
    assert swap_align2nat(noise(1, 9, 4, 4).bfloat16(), 2).dtype == torch.bfloat16


@pytest.mark.parametrize(("shape", "factor"), [((1, 8, 4, 4), 1), ((9, 4, 4), 1), ((1, 9, 4, 4), 0)])
def test_swap_of_invalid_shape_or_factor_is_refused(shape, factor):
    with pytest.raises(StructureError, match="swap_align2nat"):
        swap_align2nat(torch.zeros(shape), factor)
