"""Geometry given in float64 is computed in float64."""

import pytest
import torch
from det_core.ops import coding, rotated
from det_core.ops.losses import box_loss, focal_loss
from det_core.ops.nms import nms_by_group
from det_core.ops.precision import precise


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("float16", "bfloat16"), "float32"),
        (("float32", "float64"), "float64"),
        (("float16", "float64"), "float64"),
        (("float32",), "float32"),
    ],
)
def test_precise_is_float32_or_more(given, expected):
    made = precise(*(torch.ones(2, dtype=getattr(torch, name)) for name in given))
    assert {each.dtype for each in made} == {getattr(torch, expected)}


def test_rotated_iou_float64_is_exact_beyond_float32():
    a = torch.tensor([[0.0, 0, 3, 1, 0]], dtype=torch.float64)
    found = rotated.iou(a, torch.tensor([[1.0, 0, 3, 1, 0]], dtype=torch.float64))
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(0.5, abs=1e-13)
    third = rotated.iou(a, torch.tensor([[0.0, 0, 1, 1, 0]]))
    assert third.item() == pytest.approx(1 / 3, abs=1e-13)


@pytest.mark.parametrize("form", [coding, rotated])
def test_decode_float64_inverts_encode_beyond_float32(form):
    boxes = torch.tensor([[1.1, 2.2, 33.3, 44.4, 20.0], [5.5, 6.6, 7.7, 8.8, -3.0]], dtype=torch.float64)
    references = torch.tensor([[1.0, 2, 30, 40, 0], [4, 5, 9, 9, 10]], dtype=torch.float64)
    dim = 4 if form is coding else 5
    weights = (10.0, 10.0, 5.0, 5.0, 1.0)[:dim]
    boxes, references = boxes[:, :dim], references[:, :dim]
    back = form.decode(form.encode(boxes, references, weights), references, weights)
    torch.testing.assert_close(back, boxes, rtol=1e-13, atol=1e-13)


def test_suppression_and_losses_keep_float64():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6]], dtype=torch.float64)
    scores = torch.tensor([0.9, 0.8])
    # An overlap of 0.6, which in float32 is a hair more than in float64.
    assert nms_by_group(boxes, scores, torch.zeros(2, dtype=torch.int64), 0.6).tolist() == [0, 1]
    offsets = torch.zeros(2, 4, dtype=torch.float64)
    assert box_loss(offsets, boxes, boxes, (1.0,) * 4, "giou", 0.0).dtype == torch.float64
    assert focal_loss(offsets, torch.zeros(2, 4), 0.25, 2.0).dtype == torch.float64
