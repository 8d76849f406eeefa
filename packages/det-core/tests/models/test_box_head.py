"""The box branch of the second stage."""

import math

import pytest
import torch
from det_core.errors import ConfigError
from det_core.models import NMS, BoxRegression, FastRCNNConvFCHead, FastRCNNPredictor

SIZE = (40, 60)
REGIONS = torch.tensor([[0.0, 0.0, 10.0, 10.0], [30.0, 20.0, 50.0, 40.0]])


def logits(*probabilities):
    return torch.tensor(probabilities).log()


def still(regions=2, columns=2):
    return torch.zeros(regions, columns, 4)


def test_head_has_published_names_and_declares_out_dim():
    head = FastRCNNConvFCHead(8, 7, num_conv=1, conv_dim=4, num_fc=2, fc_dim=16)
    shapes = {name: tuple(value.shape) for name, value in head.state_dict().items() if name.endswith("weight")}
    assert shapes == {"conv1.weight": (4, 8, 3, 3), "fc1.weight": (16, 4 * 49), "fc2.weight": (16, 16)}
    assert head.out_dim == head(torch.zeros(3, 8, 7, 7)).shape[1] == 16


def test_head_of_convolutions_only_is_flattened():
    head = FastRCNNConvFCHead(8, 7, num_conv=1, conv_dim=32, num_fc=0, norm="GN")
    assert head.out_dim == head(torch.zeros(3, 8, 7, 7)).shape[1] == 32 * 49


def test_head_without_layers_is_refused():
    with pytest.raises(ConfigError, match="at least one layer"):
        FastRCNNConvFCHead(8, 7, num_fc=0)


@pytest.mark.parametrize(("agnostic", "columns"), [(False, 3), (True, 1)])
def test_predictor_outputs_background_score_and_box_per_class(agnostic, columns):
    predictor = FastRCNNPredictor(16, 3, class_agnostic=agnostic)
    assert predictor.bbox_pred.weight.shape == (4 * columns, 16)
    scores, offsets = predictor(torch.zeros(5, 16))
    assert scores.shape == (5, 4)
    assert offsets.shape == (5, columns, 4)


def test_background_is_last_column_and_never_detected():
    predictor = FastRCNNPredictor(16, 2)
    [found] = predictor.detect((logits([0.1, 0.2, 0.7], [0.6, 0.3, 0.1]), still()), [REGIONS], [SIZE])
    assert found.labels.tolist() == [0, 1, 1, 0]
    torch.testing.assert_close(found.scores, torch.tensor([0.6, 0.3, 0.2, 0.1]))
    assert found.boxes.tolist() == [REGIONS[1].tolist()] * 2 + [REGIONS[0].tolist()] * 2


def test_score_equal_to_threshold_is_dropped():
    half = torch.zeros(1, 2)
    for threshold, count in ((0.5, 0), (0.4999, 1)):
        predictor = FastRCNNPredictor(16, 1, nms=NMS(score_threshold=threshold))
        [found] = predictor.detect((half, still(1, 1)), [REGIONS[:1]], [SIZE])
        assert len(found) == count


def test_class_specific_offsets_decode_per_class():
    predictor = FastRCNNPredictor(16, 2, box_weights=(10.0, 10.0, 5.0, 5.0))
    offsets = still(1)
    offsets[0, 1, 0] = 5.0  # class 1: half a width to the right
    [found] = predictor.detect((logits([0.3, 0.6, 0.1]), offsets), [REGIONS[:1]], [SIZE])
    assert found.boxes.tolist() == [[5.0, 0.0, 15.0, 10.0], [0.0, 0.0, 10.0, 10.0]]


def test_one_set_of_offsets_moves_all_classes():
    predictor = FastRCNNPredictor(16, 2, class_agnostic=True)
    offsets = still(1, 1)
    offsets[0, 0, 0] = 5.0
    [found] = predictor.detect((logits([0.3, 0.6, 0.1]), offsets), [REGIONS[:1]], [SIZE])
    assert found.boxes.tolist() == [[5.0, 0.0, 15.0, 10.0]] * 2


def test_detections_are_clipped_suppressed_by_class_and_limited():
    predictor = FastRCNNPredictor(16, 2, nms=NMS(max_detections=3))
    regions = torch.tensor([[30.0, 20.0, 90.0, 90.0], [30.0, 20.0, 91.0, 90.0], [0.0, 0.0, 5.0, 5.0]])
    given = logits([0.6, 0.3, 0.1], [0.5, 0.2, 0.3], [0.2, 0.1, 0.7])
    first, second = predictor.detect((torch.cat((given, given)), still(6)), [regions, regions], [SIZE, (100, 100)])
    assert first.boxes[0].tolist() == [30.0, 20.0, 60.0, 40.0]
    assert second.boxes[0].tolist() == [30.0, 20.0, 90.0, 90.0]
    assert (first.labels.tolist(), first.size) == ([0, 1, 0], SIZE)


def test_box_outside_image_is_dropped_but_counts_towards_limit():
    # By class the second region is the best; clipped, it is a line on the border, and takes one of the two places.
    predictor = FastRCNNPredictor(16, 1, nms=NMS(max_detections=2))
    regions = torch.tensor([[0.0, 0.0, 10.0, 10.0], [70.0, 5.0, 90.0, 15.0], [20.0, 20.0, 30.0, 30.0]])
    given = logits([0.6, 0.4], [0.9, 0.1], [0.5, 0.5])
    [found] = predictor.detect((given, still(3, 1)), [regions], [SIZE])
    assert found.boxes.tolist() == [[0.0, 0.0, 10.0, 10.0]]
    assert found.scores.tolist() == pytest.approx([0.6])


def test_predictor_rotated_box_without_a_side_is_dropped():
    predictor = FastRCNNPredictor(16, 1, box_weights=(10.0, 10.0, 5.0, 5.0, 1.0))
    regions = torch.tensor([[20.0, 20.0, 10.0, 4.0, 30.0], [90.0, 20.0, 10.0, 4.0, 0.0]])
    given = logits([0.6, 0.4], [0.9, 0.1])
    [found] = predictor.detect((given, torch.zeros(2, 1, 5)), [regions], [SIZE])
    assert found.scores.tolist() == pytest.approx([0.6])


def test_rows_that_are_not_finite_are_dropped():
    predictor = FastRCNNPredictor(16, 2)
    scores, offsets = logits([0.6, 0.3, 0.1], [0.6, 0.3, 0.1]), still()
    offsets[1, 0, 2] = float("nan")
    [found] = predictor.detect((scores, offsets), [REGIONS], [SIZE])
    assert found.boxes.tolist() == [REGIONS[0].tolist()] * 2
    scores[0] = float("nan")
    assert len(predictor.detect((scores, offsets), [REGIONS], [SIZE])[0]) == 0


def test_no_regions_give_no_detections():
    [found] = FastRCNNPredictor(16, 2).detect((torch.zeros(0, 3), still(0)), [REGIONS[:0]], [SIZE])
    assert len(found) == 0
    assert found.labels.dtype == torch.int64


def test_class_loss_is_mean_over_regions():
    losses = FastRCNNPredictor(16, 2).losses(
        (logits([0.5, 0.3, 0.2], [0.1, 0.1, 0.8]), still()), REGIONS, torch.tensor([0, 2]), REGIONS
    )
    assert losses["loss_cls"].item() == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)
    assert losses["loss_box_reg"].item() == 0.0


def test_sigmoids_know_no_background_and_are_summed_over_classes():
    predictor = FastRCNNPredictor(16, 2, class_loss="sigmoid")
    losses = predictor.losses((torch.zeros(2, 3), still()), REGIONS, torch.tensor([0, 2]), REGIONS)
    assert losses["loss_cls"].item() == pytest.approx(2 * math.log(2))
    torch.testing.assert_close(predictor.cls_score.bias.detach().sigmoid(), torch.full((3,), 0.01))
    [found] = predictor.detect((torch.zeros(2, 3), still()), [REGIONS], [SIZE])
    torch.testing.assert_close(found.scores, torch.full((4,), 0.5))


@pytest.mark.parametrize("agnostic", [False, True])
def test_box_loss_of_foreground_divides_by_all_regions(agnostic):
    predictor = FastRCNNPredictor(16, 2, class_agnostic=agnostic, box_loss_weight=3.0)
    truth = REGIONS + torch.tensor([2.0, 0.0, 2.0, 0.0])  # a fifth and a tenth of the width, weighted by 10
    offsets = still(2, 1 if agnostic else 2)
    offsets[:, 0] = 0.0 if agnostic else 7.0  # class 0's offsets do not matter to an object of class 1
    losses = predictor.losses((torch.zeros(2, 3), offsets), REGIONS, torch.tensor([1, 2]), truth)
    assert losses["loss_box_reg"].item() == pytest.approx(3.0 * 2.0 / 2)


@pytest.mark.parametrize("kind", ["smooth_l1", "giou", "diou", "ciou"])
@pytest.mark.parametrize("class_loss", ["softmax", "sigmoid"])
def test_losses_without_regions_are_zero_and_differentiable(kind, class_loss):
    predictor = FastRCNNPredictor(16, 2, box_regression=BoxRegression(loss=kind), class_loss=class_loss)
    none = torch.zeros(0, dtype=torch.int64)
    losses = predictor.losses(predictor(torch.zeros(0, 16)), REGIONS[:0], none, REGIONS[:0])
    sum(losses.values()).backward()
    assert [value.item() for value in losses.values()] == [0.0, 0.0]
    assert all(parameter.grad is not None for parameter in predictor.parameters())
