"""Outlines are judged by what of the masks lies near them."""

import pytest
import torch
from det_core.contracts import Evaluator
from det_core.errors import ConfigError
from det_core.structures import Detections, Prediction, Sample, Targets
from det_pointrend.boundary import BoundaryEvaluator, boundaries

SIZE = (60, 80)  # with a diagonal of 100


def square(left, top, side):
    mask = torch.zeros(1, *SIZE, dtype=torch.bool)
    mask[:, top : top + side, left : left + side] = True
    return mask


def judged(truth, guess, scores=(0.9,), **options):
    evaluator = BoundaryEvaluator(["cell"], **options)
    box = torch.tensor([[0.0, 0, 80, 60]])
    labels = torch.zeros(len(truth), dtype=torch.int64)
    targets = Targets(boxes=box.repeat(len(truth), 1), labels=labels, masks=truth)
    found = Detections(
        boxes=box.repeat(len(guess), 1),
        labels=torch.zeros(len(guess), dtype=torch.int64),
        scores=torch.tensor(scores),
        size=SIZE,
        masks=guess,
    )
    evaluator.update(
        Prediction(detections=found), Sample(image=torch.zeros(3, *SIZE, dtype=torch.uint8), targets=targets)
    )
    return evaluator.result()


def test_boundary_covers_given_distance_from_contour():
    ring = boundaries(square(10, 10, 10), 2)
    assert ring.sum() == 100 - 36
    assert not ring[0, 12:18, 12:18].any()
    assert torch.equal(boundaries(square(10, 10, 10), 5), square(10, 10, 10))
    assert boundaries(torch.ones(1, *SIZE, dtype=torch.bool), 1).sum() == 2 * (60 + 80) - 4
    assert boundaries(torch.zeros(0, *SIZE, dtype=torch.bool), 3).shape == (0, *SIZE)


def test_boundary_iou_is_iou_of_rings():
    # One pixel to the right: rings of width 2 (of a diagonal of 100), 40 wide, of 304 pixels each. They share two bars
    # of 39 x 2 at top and bottom, and in between at either side a column of 36.
    shared = 2 * 39 * 2 + 2 * 36
    figures = judged(square(10, 10, 40), square(11, 10, 40))
    assert figures["boundary/IoU"] == pytest.approx(shared / (2 * 304 - shared))
    assert figures["boundary/mask_AP90"] == pytest.approx(1)
    assert figures["boundary/AP90"] == 0
    assert figures["boundary/AP50"] == pytest.approx(1)
    assert figures["boundary/AP"] == pytest.approx(0.3)  # at 0.5, 0.55 and 0.6 of ten overlaps


def test_masks_that_are_right_are_right_everywhere():
    figures = judged(square(10, 10, 40), square(10, 10, 40))
    assert len(figures) == 6
    assert all(value == pytest.approx(1) for value in figures.values())


def test_each_object_is_found_by_one_detection():
    both = torch.cat((square(10, 10, 40), square(11, 10, 40)))
    assert judged(square(10, 10, 40), both, scores=(0.8, 0.9))["boundary/IoU"] < 1
    assert judged(square(10, 10, 40), both, scores=(0.9, 0.8))["boundary/IoU"] == pytest.approx(1)


def test_boundary_iou_without_detections_is_zero():
    figures = judged(square(10, 10, 20), square(40, 30, 20))
    assert "boundary/IoU" not in figures
    assert figures["boundary/AP"] == 0
    evaluator = BoundaryEvaluator(["cell"])
    assert isinstance(evaluator, Evaluator)
    assert evaluator.result() == {}
    assert evaluator.notes["boundary/AP"] == "there are no objects"


def test_boundary_with_invalid_width_is_refused():
    with pytest.raises(ConfigError, match=r"BoundaryEvaluator\.width"):
        BoundaryEvaluator(["cell"], width=0.0)
