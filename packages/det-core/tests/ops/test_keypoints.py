"""Keypoints as cells of a heatmap, and back."""

import torch
from det_core.ops.keypoints import decode_heatmaps, encode_keypoints, keypoints_within

BOX = torch.tensor([[10.0, 20.0, 26.0, 28.0]])


def points(*rows):
    return torch.tensor([rows], dtype=torch.float32)


def test_encode_gives_cell_containing_point():
    cells, valid = encode_keypoints(points([10, 20, 2], [14, 22, 1], [25.9, 20, 2]), BOX, 4)
    assert cells.tolist() == [[0, 5, 3]]
    assert valid.all()


def test_encode_assigns_far_edge_to_last_cell():
    cells, valid = encode_keypoints(points([26, 28, 2], [26, 20, 2]), BOX, 4)
    assert cells.tolist() == [[15, 3]]
    assert valid.all()


def test_encode_skips_points_outside_and_unlabelled():
    cells, valid = encode_keypoints(points([9.9, 22, 2], [12, 28.1, 2], [12, 22, 0]), BOX, 4)
    assert cells.tolist() == [[0, 0, 0]]
    assert not valid.any()


def test_keypoints_within_includes_edge_of_box():
    found = keypoints_within(points([10, 28, 1], [26, 20, 2], [12, 22, 0], [9, 22, 2]), BOX)
    assert found.tolist() == [[True, True, False, False]]


def test_decode_gives_position_of_peak():
    heatmaps = torch.zeros(1, 2, 8, 8)
    heatmaps[0, 0, 2, 3] = 20.0
    heatmaps[0, 1, 7, 0] = 20.0
    # Cells of the heatmap are 2 x 1 pixels: their centres lie at 10 + 2 * 3.5 and 20 + 2.5.
    found = decode_heatmaps(heatmaps, BOX)[0]
    assert (found[0, :2] - torch.tensor([17.0, 22.5])).abs().max() <= 0.5
    assert (found[1, :2] - torch.tensor([11.0, 27.5])).abs().max() <= 0.5
    assert (found[:, 3] > 0.05).all()


def test_encode_of_decoded_peak_gives_its_cell():
    logits = torch.zeros(5, 3, 14 * 14)
    peak = torch.randint(0, 14 * 14, (5, 3), generator=torch.Generator().manual_seed(0))
    logits.scatter_(2, peak[..., None], 30.0)
    boxes = torch.tensor([[3.0, 4.0, 31.0, 60.0]]).repeat(5, 1)
    found = decode_heatmaps(logits.reshape(5, 3, 14, 14), boxes)
    cells, valid = encode_keypoints(found[..., :3], boxes, 14)
    assert valid.all()
    assert torch.equal(cells, peak)


def test_decode_accepts_subpixel_boxes_and_none():
    assert decode_heatmaps(torch.zeros(1, 2, 8, 8), torch.tensor([[3.2, 3.2, 3.3, 3.2]])).isfinite().all()
    assert decode_heatmaps(torch.zeros(0, 2, 8, 8), torch.zeros(0, 4)).shape == (0, 2, 4)
    cells, valid = encode_keypoints(torch.zeros(0, 2, 3), torch.zeros(0, 4), 8)
    assert cells.shape == valid.shape == (0, 2)
