"""Results: which objects are kept, and what they are turned into."""

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
import torch
from det_core.errors import ConfigError, DataError, MissingExtraError
from det_core.plugins import known
from det_core.predict import Result
from det_core.predict.detector import to_sample
from det_core.structures import Detections, Prediction
from PIL import Image


def result(boxes=4, masks=None):
    found = Detections(
        boxes=torch.tensor([[2.0, 3, 8, 9, 0], [1, 1, 5, 5, 0], [4, 4, 6, 6, 90]])[:, :boxes],
        labels=torch.tensor([1, 0, 1]),
        scores=torch.tensor([0.9, 0.5, 0.7]),
        size=(12, 16),
        masks=masks,
    )
    image = torch.zeros(3, 12, 16, dtype=torch.uint8)
    return Result(image, Prediction(detections=found), ("cat", "dog"), (7, 9))


def test_filtered_keeps_classes_scores_and_the_best():
    assert result().filtered(0.6).detections.scores.tolist() == pytest.approx([0.9, 0.7])
    assert result().filtered(classes=["cat"]).detections.labels.tolist() == [0]
    assert result().filtered(limit=2).detections.scores.tolist() == pytest.approx([0.9, 0.7])
    assert result().filtered(classes=["dog"], limit=1).summary() == "1 dog"
    with pytest.raises(ConfigError, match=r"classes: the model has no class 'dig'; did you mean 'dog'\?"):
        result().filtered(classes=["dig"])


def test_filtered_best_score_is_kept_below_the_threshold():
    nothing = result().filtered(0.8, classes=["cat"])
    assert nothing.best_score == 0.5
    assert nothing.summary() == "nothing found; the best score is 0.50"
    assert result().filtered(0.5).best_score is None
    assert nothing.filtered(classes=["dog"]).summary() == "nothing found"


def test_repr_png_is_the_plot():
    with Image.open(io.BytesIO(result()._repr_png_())) as picture:
        assert (picture.format, picture.size) == ("PNG", (16, 12))
        assert picture.tobytes() == result().plot().tobytes()


def test_repr_html_is_the_plot_with_its_summary():
    found = dataclasses.replace(result(), classes=("cat", "<b>dog"))
    text = found._repr_html_()
    encoded, caption = re.fullmatch(r'<img .*base64,([\w+/=]+)"><div>(.*)</div>', text).groups()
    assert base64.b64decode(encoded) == found._repr_png_()
    assert caption == "1 cat, 2 &lt;b&gt;dog"


def test_function_of_a_missing_package_names_it(monkeypatch):
    monkeypatch.setattr(known, "FUNCTIONS", {"Result.to_x": "det_nowhere.x:to_x"})
    with pytest.raises(
        MissingExtraError, match=r"Result\.to_x: needs det-nowhere, which is not installed; det-nowhere"
    ):
        known.function("Result.to_x")


@pytest.mark.parametrize(
    "image", [np.zeros((0, 4, 3), np.uint8), torch.zeros(3, 5, 0, dtype=torch.uint8), Image.new("L", (0, 3))]
)
def test_to_sample_without_pixels_is_refused(image):
    with pytest.raises(DataError, match="crop: has no pixels; its shape is"):
        to_sample(image, "crop")
