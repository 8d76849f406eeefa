"""Rotated boxes from the annotation file through the transforms; angles turn counter-clockwise as one looks at them."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from det_core.data import CocoDataset, ResizeShortestEdge, compose
from det_core.errors import DataError
from det_core.ops import rotated
from det_core.structures import Sample, Targets
from det_devkit import coco_files
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

HEIGHT, WIDTH = 60, 100
FLIP, UPSIDE_DOWN = v2.RandomHorizontalFlip(p=1.0), v2.RandomVerticalFlip(p=1.0)
EITHER_WAY = pytest.mark.parametrize("angle", [30.0, -30.0])


def make(*boxes: list[float], **fields: Any) -> Sample:
    targets = Targets(boxes=torch.tensor(boxes).reshape(-1, 5), labels=torch.arange(len(boxes)), **fields)
    return Sample(image=torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8), targets=targets)


def moved(sample: Sample, *transforms: Any) -> Targets:
    targets = compose(transforms)(sample).targets
    assert targets is not None
    assert type(targets.boxes) is Tensor
    return targets


class _Fixed(v2.Transform):
    """One call of torchvision's functions, for numbers worked out by hand."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        super().__init__()
        self.function, self.arguments = function, arguments

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self.function(inpt, *self.arguments)


def painted(box: list[float]) -> Tensor:
    """A picture that is white inside of the box."""
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    cx, cy, w, h, angle = box
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    across, down = (x - cx) * cos - (y - cy) * sin, (x - cx) * sin + (y - cy) * cos
    inside = (across.abs() < w / 2) & (down.abs() < h / 2)
    return inside.to(torch.uint8).mul(255).expand(3, -1, -1)


def seen(image: Tensor) -> tuple[float, float, float]:
    """Where the middle of what is white lies, and the angle of its long side, from its moments."""
    y, x = (image[0] > 127).nonzero().double().T + 0.5
    covariance = torch.cov(torch.stack((x, y)))
    tilt = 0.5 * math.atan2(2 * float(covariance[0, 1]), float(covariance[0, 0] - covariance[1, 1]))
    return float(x.mean()), float(y.mean()), -math.degrees(tilt)  # y points down


@EITHER_WAY
@pytest.mark.parametrize(
    "transform",
    [
        FLIP,
        UPSIDE_DOWN,
        ResizeShortestEdge(90),
        _Fixed(functional.crop, 5, 10, 50, 80),
        _Fixed(functional.pad, [10, 20]),
        _Fixed(functional.rotate, 20),
    ],
    ids=["flip", "upside down", "resize", "crop", "pad", "rotate"],
)
def test_box_follows_what_it_is_drawn_around(transform: v2.Transform, angle: float) -> None:
    box = [45.0, 30.0, 40.0, 8.0, angle]
    targets = make(box).targets
    result = compose([transform])(Sample(image=painted(box), targets=targets))
    assert result.targets is not None
    x, y, w, h, turn = result.targets.boxes[0].tolist()
    assert seen(result.image) == pytest.approx((x, y, turn), abs=0.7)
    factor = result.image.shape[-1] / WIDTH if isinstance(transform, ResizeShortestEdge) else 1
    assert (w, h) == pytest.approx((40 * factor, 8 * factor), rel=1e-3)


@EITHER_WAY
def test_mirror_turns_a_box_the_other_way(angle: float) -> None:
    for mirror, centre in ((FLIP, [80.0, 10.0]), (UPSIDE_DOWN, [20.0, 50.0])):
        [box] = moved(make([20.0, 10.0, 30.0, 6.0, angle]), mirror).boxes.tolist()
        assert box == pytest.approx([*centre, 30, 6, -angle])


def test_two_mirrors_give_the_box_back() -> None:
    box = [20.0, 10.0, 30.0, 6.0, 77.0]
    assert moved(make(box), FLIP, UPSIDE_DOWN, FLIP, UPSIDE_DOWN).boxes.tolist() == [pytest.approx(box)]


def test_box_that_is_stretched_keeps_lengths_of_its_sides_and_follows_its_height() -> None:
    double = v2.Resize((120, 100))  # twice as high
    level, upright, diagonal = moved(
        make([20.0, 10.0, 8.0, 4.0, 0.0], [20.0, 10.0, 8.0, 4.0, 90.0], [20.0, 10.0, 8.0, 4.0, 45.0]), double
    ).boxes.tolist()
    assert level == pytest.approx([20, 20, 8, 8, 0])
    assert upright == pytest.approx([20, 20, 16, 4, 90])
    # The sides ran along (1, -1) and (1, 1), now along (1, -2) and (1, 2): sqrt(5 / 2) longer.
    assert diagonal == pytest.approx([20, 20, 8 * math.sqrt(2.5), 4 * math.sqrt(2.5), math.degrees(math.atan2(1, 2))])


@given(st.floats(-180, 180, width=32), st.integers(30, 200))
def test_there_and_back_is_the_same_box(angle: float, short: int) -> None:
    box = torch.tensor([[50.0, 30.0, 30.0, 6.0, angle]])
    there = make(box[0].tolist())
    targets = moved(there, ResizeShortestEdge(short, max_size=None), v2.Resize((HEIGHT, WIDTH)))
    assert rotated.iou(targets.boxes, box).item() > 0.98


def test_what_reaches_out_stays_whole_unless_it_stands_level() -> None:
    window = _Fixed(functional.crop, 0, 20, 60, 80)
    boxes = [[22.0, 30.0, 20.0, 8.0, 40.0], [22.0, 30.0, 20.0, 8.0, 0.0], [5.0, 30.0, 20.0, 8.0, 40.0]]
    targets = moved(make(*boxes, areas=torch.tensor([100.0, 100.0, 100.0])), window)
    assert targets.labels.tolist() == [0, 1]  # of the last nothing is left
    torch.testing.assert_close(targets.boxes, torch.tensor([[2.0, 30, 20, 8, 40], [6.0, 30, 12, 8, 0]]))
    assert targets.areas is not None
    assert targets.areas.tolist() == pytest.approx([100, 60])


def test_image_without_objects_stays_one() -> None:
    targets = moved(make(), FLIP, ResizeShortestEdge(30))
    assert targets.boxes.shape == (0, 5)


def read(folder: Path, *boxes: Any, **options: Any) -> CocoDataset:
    data = coco_files.content(2)
    data["annotations"] = [
        {"id": i + 1, "image_id": 11, "category_id": 7, "bbox": box, "iscrowd": 0} for i, box in enumerate(boxes)
    ]
    images, annotations = coco_files.write(folder, data)
    return CocoDataset(images, annotations, rotated=True, **options)


def test_five_numbers_are_rotated_box_and_four_one_at_no_angle(tmp_path: Path) -> None:
    dataset = read(tmp_path, [20, 15, 10, 4, 30.5], [2, 3, 10, 6])
    targets = dataset[0].targets
    assert targets is not None
    assert targets.boxes.tolist() == [[20, 15, 10, 4, 30.5], [7, 6, 10, 6, 0]]
    assert targets.areas is not None
    assert targets.areas.tolist() == [40, 60]
    assert targets.boxes.dtype == torch.float32
    empty = dataset[1].targets
    assert empty is not None
    assert empty.boxes.shape == (0, 5)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ([20, 15, 10, 4, 30, 1], "not four or five finite numbers"),
        ([20, 15, 10, 4, float("nan")], "not four or five finite numbers"),
        ([20, 15, 10, 0, 30], "a box of width 10 and height 0"),
        ([-8, 15, 4, 20, 0], "all outside its image of 40 x 30 pixels"),
        ([-8, 15, 4, 10, 0], "all outside"),
    ],
)
def test_box_that_cannot_be_used_is_named(tmp_path: Path, box: list[float], words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(tmp_path, box)
    assert len(read(tmp_path, box, [20, 15, 10, 4, 30], bad_annotations="skip").skipped) == 1


def test_box_may_reach_into_the_image_by_its_turn(tmp_path: Path) -> None:
    assert read(tmp_path, [-8, 15, 4, 20, 90]).num_objects == 1  # at no angle it would end at -6


def test_five_numbers_where_upright_boxes_are_read_say_what_to_set(tmp_path: Path) -> None:
    dataset = read(tmp_path, [20, 15, 10, 4, 30])
    with pytest.raises(DataError, match="set rotated to true"):
        CocoDataset(dataset.images, dataset.annotations)
