"""Results: which objects are kept, and what they are turned into."""

import io

import pytest
import torch
from det_core.errors import ConfigError, MissingExtraError
from det_core.plugins.known import optional
from det_core.predict import Result
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


def test_to_pandas_has_a_row_per_object():
    pytest.importorskip("pandas")
    table = result().to_pandas()
    assert list(table.columns) == ["x0", "y0", "x1", "y1", "label", "class", "score"]
    assert table["class"].tolist() == ["dog", "cat", "dog"]
    assert table.query("score > 0.6")["x1"].tolist() == [8, 6]
    assert list(result(boxes=5).to_pandas().columns)[:5] == ["cx", "cy", "width", "height", "angle"]
    assert len(result().filtered(1).to_pandas()) == 0


def test_to_supervision_has_masks_and_names():
    library = pytest.importorskip("supervision")
    masks = torch.zeros(3, 12, 16, dtype=torch.bool)
    masks[0, 3:9, 2:8] = True
    found = result(masks=masks).to_supervision()
    assert isinstance(found, library.Detections)
    assert found.xyxy[1].tolist() == [1, 1, 5, 5]
    assert (found.mask.dtype.name, found.mask.shape, int(found.mask[0].sum())) == ("bool", (3, 12, 16), 36)
    assert found[found.confidence > 0.6]["class_name"].tolist() == ["dog", "dog"]
    turned = result(boxes=5).to_supervision()
    assert turned.data["xyxyxyxy"].shape == (3, 4, 2)
    assert turned.xyxy[2].tolist() == pytest.approx([1, 1, 7, 7], abs=1e-4)
    assert len(result().filtered(1).to_supervision()) == 0


def test_optional_missing_library_is_named_with_its_command():
    with pytest.raises(
        MissingExtraError, match="here: needs no_such_thing, which is not installed; pip install no_such"
    ):
        optional("no_such_thing", "here")
