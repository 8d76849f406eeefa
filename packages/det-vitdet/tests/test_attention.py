"""Attention in memory linear in the tokens says what the formula says."""

import math

import pytest
import torch
from det_vitdet.attention import decomposed_attention, plain_attention, relative_positions


def test_attention_one_head_two_tokens_equals_hand_computed():
    q, k, v = (torch.tensor(values).reshape(1, 1, 2, 1) for values in ([1.0, 2.0], [3.0, 4.0], [10.0, 20.0]))
    rows, columns = torch.tensor([[0.5]]), torch.tensor([[7.0], [1.0], [-1.0]])  # keys to the right, here, to the left
    found = decomposed_attention(q, k, v, (rows, columns), (1, 2), (1, 2)).flatten()
    # Token 0 sees itself with 3 + 0.5 + 1, and token 1, which is one to its right (distance -1), with 4 + 0.5 + 7.
    first = [math.exp(4.5), math.exp(11.5)]
    second = [math.exp(2 * (3 + 0.5 - 1)), math.exp(2 * (4 + 0.5 + 1))]
    expected = [(10 * a + 20 * b) / (a + b) for a, b in (first, second)]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_relative_positions_index_by_query_minus_key():
    table = torch.arange(5.0)[:, None]
    assert relative_positions(table, 3, 3)[..., 0].tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]


def test_half_as_many_keys_are_twice_as_far_apart():
    table = torch.arange(7.0)[:, None]  # 2 * 4 - 1 distances
    found = relative_positions(table, 4, 2)[..., 0]
    # Keys stand at 0 and 2; distances start from the farthest key, at 2 with a query at 0.
    assert found.tolist() == [[2, 0], [3, 1], [4, 2], [5, 3]]
    assert relative_positions(table, 2, 4)[..., 0].tolist() == [[3, 2, 1, 0], [5, 4, 3, 2]]


def test_relative_positions_of_right_length_unchanged_and_other_resampled():
    table = torch.randn(9, 3)
    assert torch.equal(relative_positions(table, 5, 5)[0, 0], table[4])
    ramp = torch.tensor([[0.0], [1.0], [2.0]])  # of two places
    assert relative_positions(ramp, 4, 4)[3, 3].item() == pytest.approx(1.0)  # here is in the middle, at any length


@pytest.mark.parametrize(
    ("query_grid", "key_grid"), [((6, 9), (6, 9)), ((6, 9), (3, 5)), ((3, 4), (6, 8)), ((1, 1), (1, 1))]
)
@pytest.mark.parametrize("length", [5, 17])
def test_decomposed_attention_and_gradients_equal_plain(query_grid, key_grid, length):
    torch.manual_seed(0)
    tokens = [math.prod(query_grid), math.prod(key_grid), math.prod(key_grid)]
    q, k, v = (torch.randn(2, 3, count, 8, requires_grad=True) for count in tokens)
    tables = tuple(torch.randn(length, 8, requires_grad=True) for _ in range(2))
    results = []
    for form in (decomposed_attention, plain_attention):
        found = form(q, k, v, tables, query_grid, key_grid)
        gradients = torch.autograd.grad(found.square().sum(), (q, k, v, *tables))
        results.append((found, *gradients))
    (ours, *our_gradients), (plain, *plain_gradients) = results
    assert (ours - plain).abs().max() <= 1e-5
    torch.testing.assert_close(our_gradients, plain_gradients, rtol=1e-4, atol=1e-4)


def test_without_tables_it_is_ordinary_attention():
    q, k, v = (torch.randn(1, 2, 6, 4) for _ in range(3))
    grid = (2, 3)
    torch.testing.assert_close(
        decomposed_attention(q, k, v, None, grid, grid), plain_attention(q, k, v, None, grid, grid)
    )
