"""What one-stage heads share."""

import pytest
import torch
from det_core.errors import ConfigError
from det_core.models.heads.dense import MovingAverage, Tower, best_candidates, per_anchor, suppress
from det_core.models.parts.levels import select_levels
from det_core.models.parts.nms import DenseNMS

LEVELS = [torch.full((2, 4, 4, 6), 1.0), torch.full((2, 4, 2, 3), 3.0)]


def test_moving_average_updates_in_training_only():
    average = MovingAverage(start=100)
    assert average(torch.tensor(50)).item() == 95
    assert average(torch.tensor(95)).item() == 95
    average.eval()
    assert average(torch.tensor(5)).item() == pytest.approx(86)
    assert average.value.item() == 95
    assert average.state_dict() == {}


def test_two_losses_may_wait_for_their_backward_pass():
    average, weight = MovingAverage(start=100), torch.ones((), requires_grad=True)
    first, second = (weight / average(torch.tensor(number)) for number in (50, 95))
    (first + second).backward()
    assert weight.grad.item() == pytest.approx(2 / 95)


def test_best_candidates_are_selected_without_nan():
    scores = torch.tensor([[[0.1, 0.9], [float("nan"), 0.5], [0.3, 0.2]]])
    best = best_candidates(scores, threshold=0.25, most=4)
    assert best.anchor[0, :3].tolist() == [0, 1, 2]
    assert best.label[0, :3].tolist() == [1, 1, 0]
    torch.testing.assert_close(best.score[0], torch.tensor([0.9, 0.5, 0.3, -1.0]))
    assert best_candidates(scores, 0.0, 1000).score.shape == (1, 6)
    assert best_candidates(torch.zeros(2, 0, 3), 0.0, 1000).score.shape == (2, 0)


def test_per_anchor_keeps_values_of_anchor_together():
    maps = torch.arange(2 * 3 * 2).reshape(1, 6, 1, 2)  # two anchors of three numbers, one row of two pixels
    assert per_anchor(maps, 3)[0].tolist() == [[0, 2, 4], [6, 8, 10], [1, 3, 5], [7, 9, 11]]


def _suppressed(boxes, labels, scores, size, nms):
    """The detections of a single image."""
    (detections,) = suppress(boxes[None], labels[None], scores[None], [size], nms)
    return detections


def test_boxes_are_clipped_after_suppression_and_empty_ones_dropped():
    nan = float("nan")
    boxes = torch.tensor(
        [[0.0, 0, 10, 10], [1, 0, 10, 10], [1, 0, 10, 10], [30, 0, 40, 10], [0, nan, 5, 5], [0, 0, 3, 3]]
    )
    labels, scores = torch.tensor([0, 0, 1, 1, 1, 1]), torch.tensor([0.5, 0.6, 0.7, 0.8, 0.9, -1.0])
    found = _suppressed(boxes, labels, scores, (10, 8), DenseNMS(max_detections=10))
    assert found.labels.tolist() == [1, 0]
    assert found.boxes.tolist() == [[1, 0, 8, 10], [1, 0, 8, 10]]
    assert len(_suppressed(boxes, labels, scores, (10, 8), DenseNMS(max_detections=0))) == 0


def test_boxes_may_be_clipped_before_they_are_compared():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 30, 10]])  # which overlap by a third, and wholly in the image
    labels, scores = torch.zeros(2, dtype=torch.int64), torch.tensor([0.6, 0.5])
    assert len(_suppressed(boxes, labels, scores, (10, 10), DenseNMS())) == 2
    assert len(_suppressed(boxes, labels, scores, (10, 10), DenseNMS(clip_before_nms=True))) == 1


@pytest.mark.parametrize(("level_norms", "means"), [("own", [1.0, 3.0]), ("shared", [1.2, 1.2]), ("joint", [1.4])])
def test_batch_norms_count_levels_alone_in_turn_or_together(level_norms, means):
    tower = Tower(4, [-1], "BN", level_norms, levels=2)
    torch.nn.init.dirac_(tower[0].weight)
    tower.train()(LEVELS)
    # Edges do not matter to a kernel of one pixel. The momentum of 0.1 is undone below.
    found = [v[0].item() for k, v in tower.state_dict().items() if k.endswith("running_mean")]
    if level_norms == "shared":
        assert found == [pytest.approx(0.1 * 0.9 + 0.3)]
    else:
        assert [10 * mean for mean in found] == pytest.approx(means)


def test_tower_of_per_level_norms_has_published_keys():
    names = set(Tower(4, [8, -1], "SyncBN", "own", levels=2).state_dict())
    assert {"0.weight", "1.weight", "1.0.running_mean", "1.1.running_var", "3.bias", "4.bias"} <= names
    assert "1.0.weight" not in names
    assert set(Tower(32, [-1], "GN", "own", levels=2).state_dict()) == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_levels_must_exist_and_have_equal_channels():
    assert select_levels("Head", {"p3": 8, "p4": 8}, None) == ("p3", "p4")
    for names in (["p9"], []):
        with pytest.raises(ConfigError, match=r"Head\.in_features: must name levels"):
            select_levels("Head", {"p3": 8}, names)
    with pytest.raises(ConfigError, match="as many channels"):
        select_levels("Head", {"p3": 8, "p4": 4}, None)
