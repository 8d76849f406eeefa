"""Crops and large-scale jitter: hand-worked windows, and what belongs to an object stays with it."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from det_core.data import FixedSizeCrop, RandomCrop, ScaleJitter, compose
from det_core.errors import ConfigError
from det_core.structures import Polygons, Sample, Targets

HEIGHT, WIDTH = 20, 40
BOXES = torch.tensor([[2.0, 4, 12, 10], [30, 2, 38, 18]])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the next random numbers those that are given."""

    def use(*numbers: float) -> None:
        left = list(numbers)
        monkeypatch.setattr(torch, "rand", lambda *_: torch.tensor(left.pop(0)))

    return use


def make(**fields: Any) -> Sample:
    image = torch.arange(3 * HEIGHT * WIDTH).reshape(3, HEIGHT, WIDTH).to(torch.uint8)
    return Sample(image=image, targets=Targets(boxes=BOXES.clone(), labels=torch.tensor([5, 6]), **fields))


def apply(sample: Sample, *transforms: Any) -> tuple[Sample, Targets]:
    result = compose(transforms)(sample)
    assert result.targets is not None
    return result, result.targets


@pytest.mark.parametrize(
    ("size", "factor", "expected"),
    [
        ((480, 640), 1.0, (768, 1024)),
        ((640, 480), 1.0, (1024, 768)),
        ((480, 640), 0.1, (77, 102)),
        ((480, 640), 2.0, (1536, 2048)),
        ((5, 2000), 0.1, (1, 102)),
    ],
)
def test_jittered_image_fits_into_the_square_times_the_factor(
    size: tuple[int, int], factor: float, expected: tuple[int, int]
) -> None:
    assert ScaleJitter(1024).resized(size, factor) == expected


def test_jittered_image_fits_into_a_rectangle() -> None:
    assert ScaleJitter((100, 400)).resized((50, 50), 1.0) == (100, 100)
    assert ScaleJitter((100, 400)).resized((50, 400), 1.0) == (50, 400)


def test_factor_is_drawn_from_the_range(drawn: Any) -> None:
    drawn(0.25)
    sample, targets = apply(make(), ScaleJitter(40, (0.5, 1.5)))
    assert sample.size == (15, 30)  # factor 0.75
    assert targets.boxes.tolist() == [[1.5, 3, 9, 7.5], [22.5, 1.5, 28.5, 13.5]]


def test_small_image_is_padded_right_and_bottom() -> None:
    sample = make(
        masks=torch.ones(2, HEIGHT, WIDTH, dtype=torch.bool),
        semantic=torch.full((HEIGHT, WIDTH), 7),
        keypoints=torch.tensor([[[3.0, 5.0, 2.0]], [[31.0, 3.0, 1.0]]]),
    )
    result, targets = apply(sample, FixedSizeCrop((24, 50), pad_value=9))
    assert result.size == (24, 50)
    assert torch.equal(result.image[:, :HEIGHT, :WIDTH], sample.image)
    assert (result.image[:, HEIGHT:] == 9).all()
    assert (result.image[:, :, WIDTH:] == 9).all()
    assert targets.boxes.tolist() == BOXES.tolist()
    assert isinstance(targets.masks, torch.Tensor)
    assert targets.masks.sum((1, 2)).tolist() == [HEIGHT * WIDTH] * 2
    assert targets.semantic is not None
    assert (targets.semantic[:HEIGHT, :WIDTH] == 7).all()
    assert (targets.semantic == 255).sum() == 24 * 50 - HEIGHT * WIDTH
    assert targets.semantic.dtype == torch.int64
    assert targets.keypoints is not None
    assert targets.keypoints.tolist() == [[[3, 5, 2]], [[31, 3, 1]]]


def test_large_image_is_cropped_on_its_diagonal(drawn: Any) -> None:
    drawn(0.5)
    result, targets = apply(make(), FixedSizeCrop((10, 20)))
    assert torch.equal(result.image, make().image[:, 5:15, 10:30])
    assert targets.labels.tolist() == [5]  # the other object is outside
    assert targets.boxes.tolist() == [[0, 0, 2, 5]]


def test_one_side_is_cropped_and_the_other_padded(drawn: Any) -> None:
    drawn(1.0)
    result, targets = apply(make(), FixedSizeCrop(30))
    assert torch.equal(result.image[:, :HEIGHT], make().image[:, :, 10:])
    assert (result.image[:, HEIGHT:] == 128).all()
    assert targets.boxes.tolist() == [[0, 4, 2, 10], [20, 2, 28, 18]]


def test_without_padding_a_small_image_stays_small() -> None:
    assert apply(make(), FixedSizeCrop((30, 50), pad_value=None))[0].size == (HEIGHT, WIDTH)
    assert apply(make(), FixedSizeCrop((10, 50), pad_value=None))[0].size == (10, WIDTH)


@pytest.mark.parametrize("form", ["bitmaps", "polygons"])
def test_box_is_recomputed_around_what_is_left_of_mask(form: str, drawn: Any) -> None:
    drawn(0.0)
    # The first object is an L: a column at x 2 to 4, and a foot at y 8 to 10. The window ends above the foot.
    outline = [[2.0, 4, 4, 4, 4, 8, 12, 8, 12, 10, 2, 10]]
    masks: Any = Polygons.of([outline, [[30.0, 2, 38, 2, 38, 18, 30, 18]]])
    if form == "bitmaps":
        masks = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.bool)
        masks[0, 4:10, 2:4] = masks[0, 8:10, 2:12] = masks[1, 2:18, 30:38] = True
    _, targets = apply(make(masks=masks, areas=torch.tensor([60.0, 128])), FixedSizeCrop((8, WIDTH)))
    assert targets.boxes.tolist() == [[2, 4, 4, 8], [30, 2, 38, 8]]
    assert targets.areas is not None
    assert targets.areas.tolist() == [8, 48]


def test_box_without_an_polygon_is_clipped(drawn: Any) -> None:
    drawn(0.0)
    _, targets = apply(make(masks=Polygons.of([[], []])), FixedSizeCrop((8, 36)))
    assert targets.boxes.tolist() == [[2, 4, 12, 8], [30, 2, 36, 8]]


def test_object_whose_mask_is_cut_off_is_dropped_though_its_box_is_not(drawn: Any) -> None:
    drawn(0.0)
    # A triangle above the window's lower right corner; the second object has no pixel in the window.
    outlines = Polygons.of([[[2.0, 4, 12, 4, 2, 10]], [[38.0, 2, 38, 18, 30, 18]]])
    _, targets = apply(make(masks=outlines), FixedSizeCrop((8, 34)))
    assert targets.labels.tolist() == [5]
    assert targets.boxes[0].tolist() == pytest.approx([2, 4, 12, 8])


def test_large_scale_jitter_gives_images_of_one_size_and_sound_targets() -> None:
    torch.manual_seed(0)
    outlines = Polygons.of([[[2.0, 4, 12, 4, 12, 10, 2, 10]], [[30.0, 2, 38, 2, 38, 18, 30, 18]]])
    kept = 0
    for _ in range(50):
        result, targets = apply(make(masks=outlines), ScaleJitter(32), FixedSizeCrop(32))
        assert result.size == (32, 32)
        assert ((targets.boxes >= 0) & (targets.boxes <= 32)).all()
        kept += len(targets)
    assert 40 < kept < 100


@pytest.mark.parametrize(
    ("form", "size", "heights", "widths"),
    [
        ("absolute", (8, 50), {8}, {WIDTH}),
        ("absolute_range", (18, 30), {18, 19, 20}, set(range(18, 31))),
        ("relative", (0.5, 0.25), {10}, {10}),
        ("relative_range", (0.9, 1.0), {18, 19, 20}, {WIDTH}),
    ],
)
def test_four_forms_of_a_random_crop(form: Any, size: Sequence[float], heights: set, widths: set) -> None:
    torch.manual_seed(0)
    sizes = [apply(make(), RandomCrop(size, form))[0].size for _ in range(200)]
    assert {height for height, _ in sizes} == heights
    assert {width for _, width in sizes} == widths


def test_random_crop_lies_anywhere_and_everything_follows() -> None:
    torch.manual_seed(0)
    image = torch.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 251
    places = set()
    for _ in range(100):
        sample = make(semantic=image.long())
        result, targets = apply(sample, RandomCrop((19, 38)))
        first = int(targets.semantic[0, 0])  # type: ignore[index]
        top, left = divmod(first, WIDTH)
        places.add((top, left))
        assert torch.equal(result.image, sample.image[:, top : top + 19, left : left + 38])
        assert targets.boxes[0].tolist() == [2 - left, 4 - top, 12 - left, 10 - top]
    assert places == {(top, left) for top in range(2) for left in range(3)}


def test_image_without_targets_is_cropped_too() -> None:
    sample = Sample(image=make().image)
    assert compose([ScaleJitter(64), FixedSizeCrop(32)])(sample).size == (32, 32)


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: ScaleJitter(0), "ScaleJitter.size"),
        (lambda: ScaleJitter((1, 2, 3)), "ScaleJitter.size"),
        (lambda: ScaleJitter(8, (2.0, 1.0)), "ScaleJitter.scale"),
        (lambda: FixedSizeCrop(-1), "FixedSizeCrop.size"),
        (lambda: FixedSizeCrop(8, pad_value=256), "FixedSizeCrop.pad_value"),
        (lambda: RandomCrop((0.5, 1.5), "relative"), "RandomCrop.size"),
        (lambda: RandomCrop((0.5, 8)), "RandomCrop.size"),
        (lambda: RandomCrop((9, 8), "absolute_range"), "RandomCrop.size"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(make: Any, where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        make()


def test_window_that_shows_too_much_of_one_class_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [0, 0, 4, 18]  # top and left of the first window, then of the second

    monkeypatch.setattr(torch, "randint", lambda *_: torch.tensor(left.pop(0)))
    semantic = torch.zeros(HEIGHT, WIDTH, dtype=torch.int64)
    semantic[:, 20:], semantic[0] = 1, 255
    crop = RandomCrop([4, 4], max_class_share=0.75)
    _, targets = apply(make(semantic=semantic), crop)
    assert targets.semantic is not None
    assert targets.semantic.tolist() == [[0, 0, 1, 1]] * 4
    assert left == []


def test_where_one_class_is_everywhere_tenth_window_is_taken() -> None:
    crop = RandomCrop([4, 4], max_class_share=0.5)
    _, targets = apply(make(semantic=torch.zeros(HEIGHT, WIDTH, dtype=torch.int64)), crop)
    assert targets.semantic is not None
    assert targets.semantic.shape == (4, 4)
    assert apply(make(semantic=torch.full((HEIGHT, WIDTH), 255)), crop)[0].size == (4, 4)
    assert apply(make(), crop)[0].size == (4, 4)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_share_of_a_class_that_cannot_be_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"RandomCrop\.max_class_share"):
        RandomCrop([4, 4], max_class_share=share)
