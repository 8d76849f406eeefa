"""Random choice of the candidates that a loss looks at."""

import pytest
import torch
from det_core.ops.sampling import sample


def counts(labels, chosen):
    return [int((chosen & (labels == value)).sum()) for value in (1, 0, -1)]


def test_sample_limits_positives_and_fills_with_negatives():
    labels = torch.tensor([1] * 50 + [0] * 100 + [-1] * 20)
    assert counts(labels, sample(labels, 64, 0.25)) == [16, 48, 0]


def test_few_positives_leave_their_places_to_negatives():
    labels = torch.tensor([1] * 3 + [0] * 100)
    assert counts(labels, sample(labels, 64, 0.5)) == [3, 61, 0]


def test_sample_larger_than_candidates_takes_all():
    labels = torch.tensor([1, 0, -1, 0, 1])
    assert sample(labels, 1_000_000, 0.25).tolist() == [True, True, False, True, True]


def test_sample_rounds_positive_count_down():
    labels = torch.tensor([1] * 10 + [0] * 10)
    assert counts(labels, sample(labels, 5, 0.5)) == [2, 3, 0]


def test_sample_does_not_replace_missing_negatives():
    labels = torch.tensor([1] * 50 + [0] * 4)
    assert counts(labels, sample(labels, 32, 0.5)) == [16, 4, 0]


def test_rows_are_sampled_each_for_itself():
    labels = torch.tensor([[1] * 10 + [0] * 10, [0] * 20, [-1] * 20])
    chosen = sample(labels, 8, 0.5)
    assert [counts(row, picked) for row, picked in zip(labels, chosen, strict=True)] == [
        [4, 4, 0],
        [0, 8, 0],
        [0, 0, 0],
    ]


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_no_candidates_give_an_empty_sample(shape):
    assert sample(torch.zeros(shape, dtype=torch.int8), 4, 0.5).shape == shape


def test_every_candidate_has_its_chance_and_the_seed_decides():
    labels = torch.tensor([0] * 6)
    torch.manual_seed(1)
    draws = [sample(labels, 2, 0.5) for _ in range(100)]
    torch.manual_seed(1)
    assert torch.equal(sample(labels, 2, 0.5), draws[0])
    assert (torch.stack(draws).sum(0) > 10).all()
