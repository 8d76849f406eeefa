"""Segments are drawn by class, things outlined, and a legend tells which is which."""

import numpy as np
import pytest
import torch
from det_core.structures import PanopticMap, SemanticMap
from det_core.visual import class_color, in_words
from det_core.visual.segments import by_class
from det_panoptic.drawing import draw_segments
from PIL import Image

CLASSES = ("dog", "sky", "grass")
SIZE = (60, 80)


def picture():
    """A grey image with a fine texture."""
    values = np.where(np.indices(SIZE).sum(0) % 2, 90, 160).astype(np.uint8)
    return Image.fromarray(np.stack([values] * 3, -1))


def two_dogs():
    ids = torch.full(SIZE, 3, dtype=torch.int32)
    ids[20:40, 10:30], ids[20:40, 30:50] = 1, 2
    ids[50:] = 0
    dogs = [{"id": n, "label": 0, "is_thing": True, "score": 0.9} for n in (1, 2)]
    return PanopticMap(ids=ids, segments=[*dogs, {"id": 3, "label": 1, "is_thing": False}])


def drawn(segments):
    return np.asarray(draw_segments(picture(), segments, CLASSES)).astype(int)


def test_draw_segments_tints_stuff_and_leaves_void_unchanged():
    whole, before = drawn(two_dogs()), np.asarray(picture()).astype(int)
    sky = whole[:15, :80]
    for shade in (90, 160):
        own = sky[before[:15, :, 0] == shade]
        wanted = 0.55 * shade + 0.45 * np.array(class_color(1))
        assert np.abs(own - wanted).max() <= 1
    assert np.array_equal(whole[52:60, :80], before[52:60])


def test_draw_segments_touching_things_have_contour_and_different_shades():
    whole = drawn(two_dogs())
    left, right, between = whole[30, 20], whole[30, 40], whole[30, 29:31]
    assert np.abs(left - right).max() > 5
    lightness = [each.mean() for each in (left, right)]
    assert all(abs(each.mean() - value) > 40 for each in between for value in lightness)


def test_draw_segments_legend_has_color_of_each_class():
    sheet = draw_segments(picture(), two_dogs(), CLASSES)
    assert sheet.height >= SIZE[0]
    assert sheet.width > SIZE[1]
    legend = np.asarray(sheet)[:, SIZE[1] :].reshape(-1, 3).tolist()
    assert list(class_color(0)) in legend
    assert list(class_color(1)) in legend
    assert list(class_color(2)) not in legend


def test_in_words_counts_things_and_measures_stuff():
    # 10 of 60 rows are void, and the dogs have 800 of 4800 pixels.
    assert in_words(two_dogs(), CLASSES) == "sky 67 %, 2 dog"
    assert in_words(PanopticMap(ids=torch.zeros(SIZE, dtype=torch.int32), segments=()), CLASSES) == "nothing found"


def test_draw_segments_without_segments_has_no_legend():
    nothing = PanopticMap(ids=torch.zeros(SIZE, dtype=torch.int32), segments=())
    assert np.array_equal(np.asarray(draw_segments(picture(), nothing, CLASSES)), np.asarray(picture()))


def test_draw_segments_legend_numbers_unnamed_classes_and_summarizes_many():
    ids = torch.arange(1, 41, dtype=torch.int32).repeat_interleave(2).expand(SIZE)
    segments = [{"id": n, "label": n - 1, "is_thing": False} for n in range(1, 41)]
    many = PanopticMap(ids=ids, segments=segments)
    assert draw_segments(picture(), many).height >= SIZE[0]
    assert in_words(PanopticMap(ids=ids[:, :2], segments=segments[:1]), ()).startswith("0 ")


@pytest.mark.parametrize("image", [torch.full((3, *SIZE), 100, dtype=torch.uint8), Image.new("RGB", SIZE[::-1])])
def test_draw_semantic_map_uses_most_likely_classes(image):
    logits = torch.zeros(3, *SIZE)
    logits[1, :30], logits[2, 30:] = 1, 1
    found = by_class(SemanticMap(logits=logits))
    assert [each["label"] for each in found.segments] == [1, 2]
    assert torch.bincount(found.ids.flatten()).tolist() == [0, 2400, 2400]
    assert draw_segments(image, SemanticMap(logits=logits), CLASSES).width > SIZE[1]
