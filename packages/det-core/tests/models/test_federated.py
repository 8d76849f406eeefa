"""Losses over some of the classes."""

import json

import pytest
import torch
from det_core.errors import ConfigError, DataError
from det_core.models import FastRCNNPredictor, FederatedClasses
from torch.nn import functional as F

BACKGROUND = 4


def drawn(labels, seed=0, **options):
    torch.manual_seed(seed)
    federated = FederatedClasses(**{"counts": [1.0, 100.0, 0.0, 25.0], "classes": 3, **options})
    return federated(torch.tensor(labels, dtype=torch.int64), federated.weights(BACKGROUND)).tolist()


def test_classes_of_batch_are_selected_and_background_counts():
    for seed in range(5):
        chosen = drawn([2, BACKGROUND, 2], seed)  # two of three places are taken
        assert chosen[2]
        assert sum(chosen) == 2
    assert drawn([0, 1, 2, 3]) == [True] * 4  # more than there are places for
    assert drawn([2, BACKGROUND], classes=2) == [False, False, True, False]


def test_classes_without_images_are_never_drawn():
    assert drawn([BACKGROUND], classes=50) == [True, True, False, True]
    assert drawn([], classes=50) == [True, True, False, True]


@pytest.mark.parametrize(("power", "share"), [(0.5, 10 / 16), (1.0, 100 / 126), (0.0, 1 / 3)])
def test_classes_are_drawn_by_their_frequency_to_a_power(power, share):
    federated = FederatedClasses([1.0, 100.0, 25.0], classes=1, power=power)
    weights = federated.weights(3)
    assert (weights / weights.sum())[1].item() == pytest.approx(share)
    torch.manual_seed(0)
    found = (
        torch.stack([federated(torch.zeros(0, dtype=torch.int64), weights) for _ in range(1500)]).float().mean(dim=0)
    )
    assert found.sum().item() == pytest.approx(1.0)
    assert found[1].item() == pytest.approx(share, abs=0.04)


def test_loss_uses_selected_classes_and_others_have_no_gradient():
    federated = FederatedClasses([1.0, 9.0, 0.0, 0.0], classes=3)
    predictor = FastRCNNPredictor(5, 4, class_loss="sigmoid", federated=federated)
    logits = torch.randn(3, 5, requires_grad=True)
    outputs, labels = (logits, torch.zeros(3, 4, 4)), torch.tensor([3, BACKGROUND, BACKGROUND])
    torch.manual_seed(1)
    [[chosen]] = torch.nonzero(federated(labels, federated.weights(4))[:2]).tolist()
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0]]).expand(3, 4)
    torch.manual_seed(1)
    loss = predictor.losses(outputs, boxes, labels, boxes)
    truth = torch.zeros(3, 2)
    truth[0, 1] = 1
    by_hand = F.binary_cross_entropy_with_logits(logits[:, [chosen, 3]], truth, reduction="sum") / 3
    torch.testing.assert_close(loss["loss_cls"], by_hand)
    loss["loss_cls"].backward()
    assert (logits.grad.abs().sum(dim=0) > 0).tolist() == [i in (chosen, 3) for i in range(5)]


def test_frequencies_are_read_from_lvis_file_by_id_lazily(tmp_path):
    path = tmp_path / "lvis.json"
    federated = FederatedClasses(counts_from=path)
    with pytest.raises(DataError, match="there is no such annotation file"):
        federated.weights(2)
    path.write_text(json.dumps({"categories": [{"id": 7, "image_count": 16}, {"id": 2, "image_count": 9}]}))
    assert federated.weights(2).tolist() == [3.0, 4.0]
    path.write_text(json.dumps({"categories": [{"id": 7}]}))
    with pytest.raises(DataError, match="the number of images"):
        FederatedClasses(counts_from=path).weights(1)


def test_checkpoint_keeps_frequencies_without_file(tmp_path):
    def predictor(federated):
        return FastRCNNPredictor(5, 2, class_loss="sigmoid", federated=federated)

    trained, without_file = predictor(FederatedClasses([16.0, 9.0])), predictor(FederatedClasses(counts_from=tmp_path))
    regions, boxes = torch.randn(3, 5), torch.tensor([[0.0, 0.0, 9.0, 9.0]]).expand(3, 4)
    labels = torch.tensor([0, 2, 2])
    torch.manual_seed(0)
    expected = trained.losses(trained(regions), boxes, labels, boxes)
    assert trained.state_dict()["fed_loss_cls_weights"].tolist() == [4.0, 3.0]
    without_file.load_state_dict(trained.state_dict())
    torch.manual_seed(0)
    torch.testing.assert_close(without_file.losses(without_file(regions), boxes, labels, boxes), expected)


def test_invalid_arguments_are_refused():
    with pytest.raises(ConfigError, match="either counts or counts_from"):
        FederatedClasses()
    with pytest.raises(ConfigError, match="got 2 for 3 classes"):
        FederatedClasses([1.0, 2.0]).weights(3)
    with pytest.raises(ConfigError, match="class_loss: sigmoid"):
        FastRCNNPredictor(5, 2, federated=FederatedClasses([1.0, 2.0]))
