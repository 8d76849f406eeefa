import itertools

import pytest
import torch
from det_core.structures import Detections, Polygons, Targets
from det_core.visual import class_color, draw
from PIL import Image


def detections(boxes, labels, scores, size=(100, 120)):
    return Detections(
        boxes=torch.tensor(boxes).reshape(-1, 4).float(),
        labels=torch.tensor(labels, dtype=torch.int64),
        scores=torch.tensor(scores).float(),
        size=size,
    )


def test_box_is_drawn_in_the_color_of_its_class():
    picture = draw(Image.new("RGB", (120, 100), "white"), detections([[20, 30, 100, 90]], [1], [0.5]))
    assert picture.getpixel((20, 60)) == class_color(1)
    assert picture.getpixel((60, 90)) == class_color(1)
    assert picture.getpixel((60, 60)) == (255, 255, 255)


@pytest.mark.parametrize("background", ["white", "black", class_color(1)])
def test_line_shows_on_any_background(background):
    image = Image.new("RGB", (120, 100), background)
    picture = draw(image, detections([[20, 30, 100, 90]], [1], [0.5]))
    across = [picture.getpixel((x, 75)) for x in range(15, 26)]
    assert any(max(abs(a - b) for a, b in zip(p, image.getpixel((0, 0)), strict=True)) > 50 for p in across)


def test_image_given_is_not_drawn_on():
    image = Image.new("RGB", (120, 100))
    draw(image, detections([[20, 30, 100, 90]], [1], [0.5]))
    assert image.getcolors() == [(120 * 100, (0, 0, 0))]


def test_tensor_is_drawn_like_the_picture_it_holds():
    image = torch.zeros(3, 100, 120, dtype=torch.uint8)
    image[0] = 200
    found = detections([[20, 30, 100, 90]], [0], [0.75])
    assert draw(image, found).tobytes() == draw(Image.new("RGB", (120, 100), (200, 0, 0)), found).tobytes()


def test_draw_without_detections_returns_image():
    image = Image.new("RGB", (120, 100), "gray")
    assert draw(image, detections([], [], [])).tobytes() == image.tobytes()


def test_draw_label_is_class_name_or_number():
    image, found = Image.new("RGB", (120, 100)), detections([[20, 40, 100, 90]], [1], [0.5])
    named, numbered = draw(image, found, ("cat", "dog")), draw(image, found, ("cat",))
    assert named.tobytes() != numbered.tobytes()
    assert draw(image, found, ("bird", "dog")).tobytes() == named.tobytes()


def over(first, second, form):
    """Two objects with masks: the first covers columns 20 to 59, the second 40 to 79, both rows 20 to 79."""
    masks = torch.zeros(2, 100, 120, dtype=torch.bool)
    masks[0, 20:80, 20:60] = masks[1, 20:80, 40:80] = True
    boxes = torch.tensor([[20.0, 20, 60, 80], [40, 20, 80, 80]])
    labels = torch.tensor([first, second])
    if form == "truth":
        return Targets(boxes=boxes, labels=labels, masks=masks)
    if form == "outlines":
        rings = [[[x, 20, x + 40, 20, x + 40, 80, x, 80]] for x in (20, 40)]
        return Targets(boxes=boxes, labels=labels, masks=Polygons.of(rings))
    return Detections(boxes=boxes, labels=labels, scores=torch.ones(2), size=(100, 120), masks=torch.ones(2, 28, 28))


@pytest.mark.parametrize("form", ["truth", "outlines", "detections"])
def test_draw_mask_is_tinted_with_first_object_on_top(form):
    picture = draw(Image.new("RGB", (120, 100), "white"), over(0, 1, form), write=False)
    light = [tuple(round(0.6 * 255 + 0.4 * value) for value in class_color(label)) for label in (0, 1)]
    assert picture.getpixel((30, 50)) == picture.getpixel((50, 50)) == light[0]
    assert picture.getpixel((70, 50)) == light[1]
    assert picture.getpixel((90, 50)) == (255, 255, 255)


def test_draw_mask_filling_image_has_no_rim_at_border():
    whole = Targets(
        boxes=torch.tensor([[20.0, 20, 30, 30]]),
        labels=torch.tensor([0]),
        masks=torch.ones(1, 100, 120, dtype=torch.bool),
    )
    picture = draw(Image.new("RGB", (120, 100), "white"), whole, write=False)
    assert picture.getpixel((0, 0)) == picture.getpixel((60, 60)) != class_color(0)


def test_draw_keypoints_skips_invisible_ones():
    found = Detections(
        boxes=torch.tensor([[20.0, 20, 100, 90]]),
        labels=torch.tensor([1]),
        scores=torch.ones(1),
        size=(100, 120),
        keypoints=torch.tensor([[[40.0, 50.0, 0.9], [80.0, 60.0, 0.0]]]),
    )
    picture = draw(Image.new("RGB", (120, 100), "white"), found)
    assert picture.getpixel((40, 50)) == class_color(1)
    assert picture.getpixel((80, 60)) == (255, 255, 255)


def test_names_and_scores_may_be_left_out():
    image, found = Image.new("RGB", (120, 100), "white"), detections([[20, 30, 100, 90]], [1], [0.5])
    bare = draw(image, found, write=False)
    assert bare.tobytes() == draw(image, found, ("cat", "dog"), write=False).tobytes() != draw(image, found).tobytes()


def test_truth_has_no_score():
    image, found = Image.new("RGB", (120, 100)), detections([[20, 40, 100, 90]], [1], [0.5])
    truth = Targets(boxes=found.boxes, labels=found.labels)
    assert draw(image, truth).tobytes() != draw(image, found).tobytes()


def test_boxes_beyond_image_and_one_pixel_images_are_drawn():
    assert draw(Image.new("RGB", (1, 1)), detections([[-5, -5, 9, 9]], [0], [1.0])).size == (1, 1)
    assert draw(Image.new("RGB", (9, 300)), detections([[-50, 10, 90, 200]], [30], [1.0])).size == (9, 300)


def test_lines_grow_with_the_image():
    def line(side):
        picture = draw(
            Image.new("RGB", (side, side)), detections([[side / 4] * 2 + [side * 3 / 4] * 2], [0], [1.0], (side, side))
        )
        return sum(picture.getpixel((x, side // 2)) == class_color(0) for x in range(side // 2))

    assert line(240) == 1
    assert line(2400) == 10


def test_draw_rotated_box_edges_and_not_its_center():
    # 60 x 20 at 90 degrees stands upright: 20 wide, 60 high.
    found = Detections(
        boxes=torch.tensor([[60.0, 50.0, 60.0, 20.0, 90.0]]),
        labels=torch.tensor([0]),
        scores=torch.tensor([1.0]),
        size=(100, 120),
    )
    picture = draw(Image.new("RGB", (120, 100)), found)
    assert picture.getpixel((60, 50)) == (0, 0, 0)
    assert picture.getpixel((50, 60)) == class_color(0)
    assert picture.getpixel((60, 80)) == class_color(0)


def test_colors_of_a_hundred_classes_are_all_different():
    assert len({class_color(label) for label in range(100)}) == 100


def test_first_colors_are_far_apart():
    for a, b in itertools.combinations(range(10), 2):
        assert sum(abs(x - y) for x, y in zip(class_color(a), class_color(b), strict=True)) > 60
