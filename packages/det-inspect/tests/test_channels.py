"""Reversed channels are found by giving a model both orders; and what a diagnosis of a model's evaluation says."""

import json

import pytest
import standins
import torch
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.data import EvalLoader
from det_core.engine import evaluate
from det_core.evaluation import Witness
from det_core.structures import Detections, Prediction
from det_inspect.analysis.channels import reversed_channels
from torch import nn


class Colours(nn.Module):
    """Finds the red and the blue square by their colours; `reverse` reads the channels the other way round."""

    num_classes = 2

    def __init__(self, reverse=False):
        super().__init__()
        self.reverse = reverse

    def forward(self, batch, targets=None):
        return [self.look(pixels) for pixels in (batch.pixels.flip(1) if self.reverse else batch.pixels)]

    def look(self, image):
        boxes = []
        for channel in (0, 2):
            y, x = torch.nonzero(image[channel] > 200, as_tuple=True)
            boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
        labels, scores = torch.tensor([0, 1]), torch.tensor([0.9, 0.8])
        size = tuple(image.shape[1:])
        return Prediction(
            detections=Detections(boxes=torch.tensor(boxes).float(), labels=labels, scores=scores, size=size)
        )


def loader(length=5):
    return EvalLoader(dataset=standins.Squares(length), batch_size=2)


def test_a_model_whose_weights_want_the_other_order_is_suspicious():
    found = reversed_channels(Colours(reverse=True), loader(), ("red", "blue"))
    assert found.kind == "channels in reverse"
    assert found.evidence == "AP50 is 0.000 on 5 images, but 1.000 if red and blue change places"


def test_a_model_that_wants_rgb_is_not():
    assert reversed_channels(Colours(), loader(), ("red", "blue")) is None


def test_only_the_first_images_are_looked_at():
    found = reversed_channels(Colours(reverse=True), loader(9), ("red", "blue"), images=3)
    assert "on 4 images" in found.evidence


def test_a_witness_keeps_boxes_and_joins_those_of_other_processes():
    halves = [Witness(("red", "blue")) for _ in range(2)]
    whole = Witness(("red", "blue"))
    for batch, half in zip(loader(4), halves, strict=True):
        evaluate(Colours(), [batch], [half])
    evaluate(Colours(), loader(4), [whole])
    joined = Witness(("red", "blue"))
    joined.merge([half.state() for half in halves])
    assert joined.result() == {}
    assert joined.diagnosis().errors == whole.diagnosis().errors
    assert joined.diagnosis().errors.ap50 == pytest.approx(1.0)
    assert joined.diagnosis().suspicions == ()
    assert Witness(("red",)).diagnosis() is None


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    recipe = standins.recipe(steps=20).save(folder / "squares.yaml")
    result = CliRunner().invoke(det, ["train", str(recipe), "--output", str(folder / "run")])
    assert result.exit_code == 0, result.output
    return folder / "run"


def test_det_eval_says_why_reports_losses_and_writes_a_page(trained, tmp_path):
    files = ["--report", str(tmp_path / "report"), "--save-predictions", str(tmp_path / "found.json")]
    result = CliRunner().invoke(det, ["eval", str(trained), "--trust", "--json", "--loss", *files])
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    assert set(made["errors"]) == {"classification", "localisation", "both", "duplicate", "background", "missed"}
    assert isinstance(made["suspicions"], list)
    assert made["metrics"]["loss"] == pytest.approx(made["metrics"]["loss_score"] + made["metrics"]["loss_box"])
    assert "Precision and recall" in (tmp_path / "report" / "index.html").read_text()
    results = json.loads((tmp_path / "found.json").read_text())
    assert len(results) == 4 * 8
    assert {each["category_id"] for each in results} <= {10, 20}
    assert set(results[0]) == {"image_id", "category_id", "bbox", "score"}
    shown = CliRunner().invoke(det, ["eval", str(trained), "--trust"])
    assert "what errors cost" in shown.output
