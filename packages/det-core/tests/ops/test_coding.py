"""Boxes as offsets from other boxes, and back."""

import math

import pytest
import torch
from det_core.ops import coding
from hypothesis import given
from hypothesis import strategies as st

REFERENCE = torch.tensor([[0.0, 0.0, 10.0, 20.0]])
side = st.floats(0.5, 200, width=32)
place = st.floats(-200, 200, width=32)
any_box = st.tuples(place, place, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


def test_encode_half_shift_and_double_height_equals_hand_computed():
    moved = torch.tensor([[5.0, -10.0, 15.0, 30.0]])
    expected = torch.tensor([[0.5, 0.0, 0.0, math.log(2)]])
    torch.testing.assert_close(coding.encode(moved, REFERENCE, (1, 1, 1, 1)), expected)


def test_weights_scale_the_offsets():
    moved = torch.tensor([[5.0, -10.0, 15.0, 30.0]])
    torch.testing.assert_close(
        coding.encode(moved, REFERENCE, (10, 10, 5, 5)), torch.tensor([[5.0, 0.0, 0.0, 5 * math.log(2)]])
    )


def test_no_offset_gives_the_reference_itself():
    torch.testing.assert_close(coding.decode(torch.zeros(1, 4), REFERENCE, (10, 10, 5, 5)), REFERENCE)


def test_decode_clamps_size_ratio_to_62_5():
    wild = torch.tensor([[0.0, 0.0, 100.0, 100.0]])
    sides = coding.decode(wild, REFERENCE, (1, 1, 1, 1))[0]
    assert (sides[2] - sides[0]).item() == pytest.approx(625.0, rel=1e-5)
    assert (sides[3] - sides[1]).item() == pytest.approx(1250.0, rel=1e-5)


def test_one_reference_serves_the_offsets_of_all_classes():
    offsets = torch.randn(3, 5, 4)
    references = torch.tensor([[0.0, 0.0, 4.0, 4.0], [1.0, 2.0, 5.0, 9.0], [3.0, 3.0, 8.0, 5.0]])
    together = coding.decode(offsets, references[:, None], (10, 10, 5, 5))
    apart = torch.stack([coding.decode(offsets[:, k], references, (10, 10, 5, 5)) for k in range(5)], dim=1)
    torch.testing.assert_close(together, apart)


def test_no_boxes_give_no_offsets():
    assert coding.encode(torch.zeros(0, 4), torch.zeros(0, 4), (1, 1, 1, 1)).shape == (0, 4)
    assert coding.decode(torch.zeros(0, 7, 4), torch.zeros(0, 1, 4), (1, 1, 1, 1)).shape == (0, 7, 4)


def test_half_precision_offsets_are_decoded_in_single_precision():
    decoded = coding.decode(torch.zeros(1, 4, dtype=torch.bfloat16), REFERENCE + 1000.1, (1, 1, 1, 1))
    assert decoded.dtype == torch.float32
    torch.testing.assert_close(decoded, REFERENCE + 1000.1)


@given(any_box, any_box)
def test_decode_inverts_encode(box, reference):
    boxes, references = torch.tensor([box]), torch.tensor([reference])
    offsets = coding.encode(boxes, references, (10, 10, 5, 5))
    ratio = (boxes[:, 2:] - boxes[:, :2]) / (references[:, 2:] - references[:, :2])
    if ratio.max() < 60:
        back = coding.decode(offsets, references, (10, 10, 5, 5))
        torch.testing.assert_close(back, boxes, atol=2e-2, rtol=1e-4)


def test_distances_lead_back_to_the_box():
    boxes, points = torch.tensor([[1.0, 2.0, 11.0, 6.0]]), torch.tensor([[4.0, 5.0]])
    distances = coding.encode_distances(boxes, points)
    assert distances.tolist() == [[3.0, 3.0, 7.0, 1.0]]
    assert coding.decode_distances(distances, points).tolist() == boxes.tolist()
    assert coding.encode_distances(boxes[:, None], torch.zeros(0, 2)).shape == (1, 0, 4)
