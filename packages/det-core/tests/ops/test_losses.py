"""Losses on boxes and classes."""

import math

import pytest
import torch
from det_core.ops.losses import box_loss, focal_loss, iou_loss, smooth_l1

UNIT = (1.0, 1.0, 1.0, 1.0)


def test_without_beta_the_loss_is_the_sum_of_distances():
    assert smooth_l1(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 1.0]]), 0.0).item() == 3.5


def test_within_beta_the_loss_is_quadratic():
    a, b = torch.tensor([0.5, 3.0]), torch.zeros(2)
    assert smooth_l1(a, b, 1.0).item() == pytest.approx(0.5 * 0.25 + (3.0 - 0.5))
    assert smooth_l1(a, b, 0.1).item() == pytest.approx((0.5 - 0.05) + (3.0 - 0.05))


# Two 2 x 2 squares, one pixel apart along x: their hull is 5 x 2.
A, B = torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[3.0, 0.0, 5.0, 2.0]])


def test_giou_of_disjoint_boxes_is_one_plus_uncovered_fraction():
    assert iou_loss(A, B, "giou").item() == pytest.approx(1 + 2 / 10, abs=1e-5)


def test_diou_adds_the_squared_distance_over_the_squared_diagonal():
    assert iou_loss(A, B, "diou").item() == pytest.approx(1 + 9 / 29, abs=1e-5)


def test_ciou_adds_a_term_for_the_aspect_ratio_alone():
    tall = torch.tensor([[0.0, 0.0, 2.0, 4.0]])
    flat = torch.tensor([[-1.0, 1.0, 3.0, 3.0]])  # the same centre, so that diou has no distance term
    v = 4 / math.pi**2 * (math.atan(2) - math.atan(0.5)) ** 2
    overlap = 4 / 12
    expected = (1 - overlap) + v * v / (1 - overlap + v)
    assert iou_loss(tall, flat, "ciou").item() == pytest.approx(expected, abs=1e-5)
    assert iou_loss(tall, flat, "diou").item() == pytest.approx(1 - overlap, abs=1e-5)


@pytest.mark.parametrize("kind", ["giou", "diou", "ciou"])
def test_iou_loss_of_equal_boxes_is_zero(kind):
    assert iou_loss(A, A, kind).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("kind", ["smooth_l1", "giou", "diou", "ciou"])
def test_losses_without_boxes_are_zero_and_differentiable(kind):
    offsets = torch.zeros(0, 4, requires_grad=True)
    loss = box_loss(offsets, torch.zeros(0, 4), torch.zeros(0, 4), UNIT, kind, 0.0)
    loss.backward()
    assert loss.item() == 0.0
    assert offsets.grad.shape == (0, 4)


@pytest.mark.parametrize("kind", ["smooth_l1", "giou", "diou", "ciou"])
def test_box_loss_is_zero_at_ground_truth(kind):
    references, truth = torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([[5.0, 0.0, 15.0, 20.0]])
    offsets = torch.tensor([[0.5, 0.5, 0.0, math.log(2)]])
    assert box_loss(offsets, references, truth, UNIT, kind, 0.0).item() == pytest.approx(0, abs=1e-4)
    wrong = torch.zeros(1, 4, requires_grad=True)
    loss = box_loss(wrong, references, truth, UNIT, kind, 0.0)
    loss.backward()
    stepped = box_loss(wrong.detach() - 0.01 * wrong.grad, references, truth, UNIT, kind, 0.0)
    assert stepped < loss


def test_focal_loss_down_weights_well_classified_examples():
    logits, truth = torch.tensor([0.0, 3.0]), torch.tensor([1.0, 1.0])
    p = torch.sigmoid(torch.tensor(3.0)).item()
    expected = 0.25 * (0.5**2 * math.log(2) - (1 - p) ** 2 * math.log(p))
    assert focal_loss(logits, truth, 0.25, 2.0).item() == pytest.approx(expected)
    assert focal_loss(logits, truth, -1, 0.0).item() == pytest.approx(math.log(2) - math.log(p))
    assert focal_loss(logits[:0], truth[:0], 0.25, 2.0) == 0


def test_focal_loss_is_symmetric_in_classes_and_alpha():
    logits, truth = torch.randn(7), torch.arange(7.0) % 2
    a, b = focal_loss(logits, truth, 0.3, 1.5), focal_loss(-logits, 1 - truth, 0.7, 1.5)
    torch.testing.assert_close(a, b)
