import pytest
import standins
import torch
from det_core.data import EvalLoader
from det_core.engine import evaluate
from det_core.errors import DataError
from det_core.structures import Detections, Prediction
from torch import nn


def loader(dataset=None, **arguments):
    return EvalLoader(dataset=dataset or standins.Squares(5), batch_size=2, **arguments)


class Knows(nn.Module):
    """Says where the red square is by its colour, in the pixels of the image that it is given."""

    num_classes = 2

    def forward(self, batch, targets=None):
        if targets is not None:
            return {"loss_a": batch.pixels.new_ones((), dtype=torch.float32) * len(batch), "loss_b": torch.rand(())}
        return [self.look(pixels[:, :h, :w]) for pixels, (h, w) in zip(batch.pixels, batch.sizes, strict=True)]

    def look(self, image):
        red = (image[0] > 200) & (image[1] < 50)
        y, x = red.any(1).nonzero().flatten(), red.any(0).nonzero().flatten()
        box = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]).float()
        detections = Detections(
            boxes=box[None], labels=torch.tensor([0]), scores=torch.ones(1), size=tuple(image.shape[1:])
        )
        return Prediction(detections=detections)


class Boxes:
    """Keeps what it is given."""

    notes = {}

    def __init__(self):
        self.predicted, self.true = [], []

    def update(self, prediction, sample):
        self.predicted.append(prediction.detections)
        self.true.append(sample)

    def result(self):
        return {"box/count": float(len(self.true))}


def test_predictions_are_evaluated_in_pixels_of_stored_image():
    from torchvision.transforms import v2

    boxes = Boxes()
    nearest = v2.Resize([96, 144], interpolation=v2.InterpolationMode.NEAREST)
    result = evaluate(Knows(), loader(transforms=[nearest]), [boxes])
    assert result.metrics == {"box/count": 5.0}
    for predicted, sample in zip(boxes.predicted, boxes.true, strict=True):
        assert predicted.size == sample.size == standins.SIZE
        torch.testing.assert_close(predicted.boxes[0], sample.targets.boxes[0], rtol=0, atol=1e-4)


def test_evaluate_loss_is_image_mean_and_sum_of_parts():
    metrics = evaluate(Knows(), loader(), [], losses=True).metrics
    # Batches of 2, 2 and 1 images whose loss_a is their size: (2 * 2 + 2 * 2 + 1 * 1) / 5.
    assert metrics["loss_a"] == pytest.approx(9 / 5)
    assert metrics["loss"] == pytest.approx(metrics["loss_a"] + metrics["loss_b"])


def test_evaluate_random_numbers_repeat_and_training_rng_unchanged():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    first = evaluate(Knows(), loader(), [], losses=True).metrics
    assert torch.equal(torch.rand(3), expected)
    assert evaluate(Knows(), loader(), [], losses=True).metrics == first


def test_model_keeps_its_modes_and_its_running_statistics():
    model = standins.Tiny().train()
    model.head.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    evaluate(model, loader(), [standins.Recall(("red", "blue"))], losses=True)
    assert (model.training, model.body.training, model.head.training) == (True, True, False)
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


def test_batch_size_does_not_change_the_metrics():
    torch.manual_seed(0)
    model, classes = standins.Tiny(), ("red", "blue")
    results = [
        evaluate(model, EvalLoader(dataset=standins.Squares(5), batch_size=size), [standins.Recall(classes)]).metrics
        for size in (1, 2, 5)
    ]
    assert results[0] == results[1] == results[2]


def test_evaluate_notes_list_skipped_images_and_missing_metrics():
    squares = loader(standins.Squares(5, broken=(3,)), on_bad_image="skip")
    result = evaluate(standins.Tiny(), squares, [standins.Recall(("red", "blue"))])
    assert result.metrics["box/seen"] == 8
    assert "squares/3.png" in result.notes[0]
    assert result.notes[1] == "no box/AP: recall knows no precision"


def test_images_without_ground_truth_have_no_loss():
    class Untold(standins.Squares):
        def __getitem__(self, index):
            from dataclasses import replace

            return replace(super().__getitem__(index), targets=None)

    with pytest.raises(DataError, match=r"has no ground truth to compute a loss from; .*validation_loss"):
        evaluate(Knows(), loader(Untold()), [], losses=True)
    assert evaluate(Knows(), loader(Untold()), []).metrics == {}
