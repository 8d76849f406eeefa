"""The steep cross-entropy of classes."""

import math

import pytest
import torch
from det_tensormask.losses import focal_loss_star


def test_focal_loss_star_of_logit_two_equals_hand_computed():
    # gamma 3: log(1 + exp(-6)) / 3 if it is right, log(1 + exp(6)) / 3 if it is wrong; alpha weighs both.
    right, wrong = math.log1p(math.exp(-6)) / 3, math.log1p(math.exp(6)) / 3
    logits = torch.tensor([2.0, 2.0])
    loss = focal_loss_star(logits, torch.tensor([1.0, 0.0]), alpha=0.3, gamma=3.0)
    assert loss.item() == pytest.approx(0.3 * right + 0.7 * wrong)


def test_large_logits_stay_finite():
    assert focal_loss_star(torch.tensor([1e4, -1e4]), torch.tensor([0.0, 1.0]), 0.3, 3.0).isfinite()
