"""Results as objects of other libraries, by the methods of core."""

import pytest
import torch
from det_core.predict import Result
from det_core.structures import Detections, Prediction


def result(boxes: int = 4, masks: torch.Tensor | None = None) -> Result:
    found = Detections(
        boxes=torch.tensor([[2.0, 3, 8, 9, 0], [1, 1, 5, 5, 0], [4, 4, 6, 6, 90]])[:, :boxes],
        labels=torch.tensor([1, 0, 1]),
        scores=torch.tensor([0.9, 0.5, 0.7]),
        size=(12, 16),
        masks=masks,
    )
    image = torch.zeros(3, 12, 16, dtype=torch.uint8)
    return Result(image, Prediction(detections=found), ("cat", "dog"), (7, 9))


def test_to_pandas_has_a_row_per_object() -> None:
    pytest.importorskip("pandas")
    table = result().to_pandas()
    assert list(table.columns) == ["x0", "y0", "x1", "y1", "label", "class", "score"]
    assert table["class"].tolist() == ["dog", "cat", "dog"]
    assert table.query("score > 0.6")["x1"].tolist() == [8, 6]
    assert list(result(boxes=5).to_pandas().columns)[:5] == ["cx", "cy", "width", "height", "angle"]
    assert len(result().filtered(1).to_pandas()) == 0


def test_to_supervision_has_masks_and_names() -> None:
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
