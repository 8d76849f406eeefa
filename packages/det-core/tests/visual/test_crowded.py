"""Pictures of crowded images and of classes with endless names."""

import pytest
import torch
from det_core.structures import Detections
from det_core.visual import draw
from det_core.visual.draw import _freest, name_of
from det_core.zoo.class_names import short_name


def crowd(count):
    corners = torch.rand(count, 2, generator=torch.Generator().manual_seed(0)) * 80
    boxes = torch.cat((corners, corners + 9), 1)
    return Detections(boxes=boxes, labels=torch.zeros(count).long(), scores=torch.ones(count), size=(90, 90))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("dog", "dog"),
        ("a\n b\tc", "a b c"),
        ("x" * 48, "x" * 48),
        ("x" * 49, "x" * 47 + "…"),
        ("x" * 1_000_000, "x" * 47 + "…"),
        (" " * 1000 + "y", "…"),
        ("", ""),
    ],
)
def test_short_name_is_one_line_of_few_signs(name, shown):
    assert short_name(name) == shown


def test_draw_label_of_few_boxes_at_least_covered_corner():
    plates = [(0.0, 0.0, 4.0, 4.0), (8.0, 0.0, 12.0, 4.0), (4.0, 0.0, 8.0, 4.0)]
    taken = [(0.0, 0.0, 4.0, 4.0), (5.0, 1.0, 6.0, 2.0)]
    assert _freest(plates, []) == 0
    assert _freest(plates, taken) == 1
    assert _freest(plates, taken * 1000) == 0  # so many are covered anyway, that looking is not worth its square


def test_draw_thousands_of_objects_with_endless_names():
    image = torch.zeros(3, 90, 90, dtype=torch.uint8)
    picture = draw(image, crowd(2000), ["n" * 2_000_000])
    assert picture.size == (90, 90)
    assert name_of(0, ["n" * 2_000_000]) == "n" * 47 + "…"


def test_draw_masks_within_their_windows_as_over_whole_image():
    masks = torch.zeros(3, 90, 90, dtype=torch.bool)
    masks[0, 10:30, 10:30] = True
    masks[2, 80:, 80:] = True  # at the border, where the image's end is no rim
    objects = Detections(
        boxes=torch.tensor([[10.0, 10, 30, 30], [0, 0, 5, 5], [80, 80, 90, 90]]),
        labels=torch.zeros(3).long(),
        scores=torch.ones(3),
        size=(90, 90),
        masks=masks,
    )
    image = torch.full((3, 90, 90), 100, dtype=torch.uint8)
    picture = torch.frombuffer(bytearray(draw(image, objects, write=False).tobytes()), dtype=torch.uint8).view(
        90, 90, 3
    )
    assert picture[20, 20].tolist() == [152, 84, 80]  # 60 % of 100 and 40 % of the colour (230, 60, 50)
    assert picture[50, 50].tolist() == [100, 100, 100]
    assert picture[87, 87].tolist() == [152, 84, 80]
