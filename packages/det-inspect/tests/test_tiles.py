"""Tiles of large images: which there are, and how their detections become those of the image."""

from itertools import pairwise

import pytest
import torch
from det_core.errors import ConfigError
from det_core.predict import Detector
from det_core.structures import Detections, ImageBatch, Prediction
from det_inspect.predictions import TiledDetector
from det_inspect.predictions.merging import Tile, merge
from det_inspect.predictions.tiles import tile_windows
from torch import Tensor, nn


@pytest.mark.parametrize(
    ("size", "tile", "overlap"),
    [((100, 250), 100, 0.2), ((1000, 999), 300, 0.5), ((64, 65), 64, 0.0), ((7, 9), 3, 0.9)],
)
def test_tile_windows_cover_the_image_with_the_overlap(size: tuple[int, int], tile: int, overlap: float) -> None:
    seen = torch.zeros(size)
    windows = tile_windows(size, tile, overlap)
    for left, top, right, bottom in windows:
        assert (bottom - top, right - left) == (min(tile, size[0]), min(tile, size[1]))
        seen[top:bottom, left:right] += 1
    assert seen.min() == 1
    columns = sorted({window[0] for window in windows})
    steps = [b - a for a, b in pairwise(columns)]
    assert all(step <= max(1, round(tile * (1 - overlap))) for step in steps)


def test_tile_windows_small_image_is_one_tile() -> None:
    assert tile_windows((50, 40), 100, 0.2) == [(0, 0, 40, 50)]


def detections(*rows: tuple[list[float], int, float], masks: Tensor | None = None) -> Detections:
    """(box, label, score) of each object, in the pixels of an image of 100 x 180."""
    boxes = torch.tensor([row[0] for row in rows]).reshape(-1, len(rows[0][0]) if rows else 4).float()
    labels, scores = torch.tensor([row[1] for row in rows]).long(), torch.tensor([row[2] for row in rows]).float()
    return Detections(boxes=boxes, labels=labels, scores=scores, size=(100, 180), masks=masks)


LEFT, RIGHT = (0, 0, 100, 100), (80, 0, 180, 100)


def merged(left: Detections, right: Detections) -> list[tuple[list[float], int, float]]:
    found = merge([Tile(LEFT, left), Tile(RIGHT, right)], (100, 180))
    return [
        ([round(value, 3) for value in box], label, round(score, 3))
        for box, label, score in zip(found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
    ]


def test_merge_whole_object_of_both_tiles_is_kept_once() -> None:
    left = detections(([82, 10, 95, 30], 0, 0.8), ([10, 10, 30, 30], 1, 0.7))
    right = detections(([83, 10, 95, 31], 0, 0.9), ([150, 10, 170, 30], 1, 0.6))
    assert merged(left, right) == [
        ([83, 10, 95, 31], 0, 0.9),
        ([10, 10, 30, 30], 1, 0.7),
        ([150, 10, 170, 30], 1, 0.6),
    ]


def test_merge_whole_object_is_kept_before_its_part() -> None:
    whole, part = ([70, 10, 95, 30], 0, 0.5), ([80, 10, 95, 30], 0, 0.9)
    assert merged(detections(whole), detections(part)) == [([70, 10, 95, 30], 0, 0.5)]


def test_merge_parts_are_united() -> None:
    parts = detections(([60, 10, 100, 30], 0, 0.6)), detections(([80, 11, 130, 30], 0, 0.9))
    assert merged(*parts) == [([60, 10, 130, 30], 0, 0.9)]


def test_merge_other_classes_and_neighbours_stay_apart() -> None:
    left = detections(([60, 10, 100, 30], 0, 0.6), ([82, 50, 95, 60], 0, 0.5))
    right = detections(([80, 10, 130, 30], 1, 0.9), ([82, 61, 95, 71], 0, 0.4))
    assert len(merged(left, right)) == 4


def test_merge_two_objects_of_a_tile_never_become_one() -> None:
    left = detections(([60, 10, 100, 30], 0, 0.6), ([60, 10, 100, 29], 0, 0.5))
    right = detections(([80, 10, 130, 30], 0, 0.9))
    assert ([60, 10, 130, 30], 0, 0.9) in merged(left, right)


def test_merge_rotated_parts_keep_the_largest() -> None:
    left, right = detections(([80, 20, 40, 10, 0], 0, 0.9)), detections(([105, 20, 50, 10, 0], 0, 0.6))
    assert merged(left, right) == [([105, 20, 50, 10, 0], 0, 0.6)]


def test_merge_of_tiles_without_objects_is_empty() -> None:
    assert merged(detections(), detections()) == []


class Bright(nn.Module):
    """Finds white regions that are connected to others only across rows: one box and mask around all white pixels."""

    num_classes = 1

    def __init__(self, masks: str) -> None:
        super().__init__()
        self.masks = masks

    def forward(self, batch: ImageBatch, targets: object = None) -> list[Prediction]:
        results = []
        for pixels, (height, width) in zip(batch.pixels, batch.sizes, strict=True):
            white = pixels[0, :height, :width] > 200
            rows, columns = white.any(1).nonzero()[:, 0], white.any(0).nonzero()[:, 0]
            boxes = torch.zeros(0, 4)
            if len(rows):
                ends = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
                boxes = torch.tensor([[float(end) for end in ends]])
            masks = white[None].expand(len(boxes), -1, -1)
            if self.masks == "grids":
                masks = torch.ones(len(boxes), 4, 4)
            labels, scores = torch.zeros(len(boxes), dtype=torch.int64), torch.full((len(boxes),), 0.9)
            found = Detections(boxes=boxes, labels=labels, scores=scores, size=(height, width), masks=masks)
            results.append(Prediction(detections=found))
        return results


@pytest.mark.parametrize("masks", ["bitmaps", "grids"])
def test_tiled_detector_unites_an_object_across_tiles(masks: str) -> None:
    image = torch.zeros(3, 90, 260, dtype=torch.uint8)
    image[:, 20:50, 30:230] = 255
    detector = TiledDetector(Detector(Bright(masks), ["bar"], device="cpu"), tile=100, overlap=0.2)
    result = detector(image)
    assert result.detections.boxes.tolist() == [[30, 20, 230, 50]]
    difference = result.masks[0] ^ (image[0] > 0)
    assert int(difference.sum()) < 0.03 * 30 * 200
    assert result.summary() == "1 bar"
    assert [len(each) for each in detector([image, torch.zeros_like(image)])] == [1, 0]
    assert detector(image, threshold=0.95).summary() == "nothing found; the best score is 0.90"


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0.2), (100, 0.95), (100, -0.1)])
def test_tiled_detector_impossible_tiles_are_refused(tile: int, overlap: float) -> None:
    with pytest.raises(ConfigError, match=r"needs tile >= 1 and 0 <= overlap <= 0\.9; got"):
        TiledDetector(Detector(Bright("grids"), ["bar"], device="cpu"), tile, overlap)
