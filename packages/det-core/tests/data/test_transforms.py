"""Transforms of samples: hand-worked coordinates, and everything about an object stays together."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torchvision.transforms as v1
from det_core.contracts import Transform
from det_core.data import Points, ResizeShortestEdge, compose
from det_core.errors import ConfigError, StructureError
from det_core.structures import Polygons, Sample, Targets
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

HEIGHT, WIDTH = 20, 40
BOXES = torch.tensor([[2.0, 4, 12, 10], [30, 2, 38, 18], [0, 0, 40, 20]])


def make(**fields: Any) -> Sample:
    image = torch.arange(3 * HEIGHT * WIDTH).reshape(3, HEIGHT, WIDTH).to(torch.uint8)
    targets = Targets(boxes=BOXES.clone(), labels=torch.tensor([5, 6, 7]), **fields)
    return Sample(image=image, targets=targets, id=9)


def masks() -> Tensor:
    result = torch.zeros((3, HEIGHT, WIDTH), dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(result, BOXES.int().tolist(), strict=True):
        mask[y0:y1, x0:x1] = True
    return result


def apply(sample: Sample, *transforms: Any, **options: Any) -> tuple[Sample, Targets]:
    result = compose(transforms, **options)(sample)
    assert result.targets is not None
    return result, result.targets


class Crop(v2.Transform):
    """A fixed crop, for numbers worked out by hand."""

    def __init__(self, top: int, left: int, height: int, width: int) -> None:
        super().__init__()
        self.window = (top, left, height, width)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return functional.crop(inpt, *self.window)


FLIP = v2.RandomHorizontalFlip(p=1.0)


def box_of(mask: Tensor) -> list[int]:
    ys, xs = mask.nonzero(as_tuple=True)
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


def test_no_transform_changes_nothing() -> None:
    sample = make()
    assert compose([])(sample) is sample
    assert isinstance(compose([]), Transform)


def test_flip_mirrors_image_boxes_and_masks() -> None:
    sample = make(masks=masks())
    result, targets = apply(sample, FLIP)
    assert torch.equal(result.image, sample.image.flip(2))
    assert targets.boxes.tolist() == [[28, 4, 38, 10], [2, 2, 10, 18], [0, 0, 40, 20]]
    assert targets.masks is not None
    assert [box_of(mask) for mask in targets.masks] == targets.boxes.int().tolist()
    assert targets.masks.dtype == torch.bool
    assert (result.id, targets.labels.tolist()) == (9, [5, 6, 7])


def test_structures_hold_plain_tensors_afterwards() -> None:
    result, targets = apply(make(masks=masks(), keypoints=torch.ones(3, 2, 3)), FLIP)
    for value in (result.image, targets.boxes, targets.labels, targets.masks, targets.keypoints):
        assert type(value) is Tensor


def test_flip_twice_gives_the_sample_back() -> None:
    sample = make(masks=masks(), keypoints=torch.tensor([[[3.5, 6.5, 2.0]]]).repeat(3, 1, 1))
    result, targets = apply(sample, FLIP, FLIP, v2.RandomVerticalFlip(1.0), v2.RandomVerticalFlip(1.0))
    before = sample.targets
    assert before is not None
    assert torch.equal(result.image, sample.image)
    for name in ("boxes", "masks", "keypoints", "labels"):
        assert torch.equal(getattr(targets, name), getattr(before, name))


def test_crop_clips_boxes_and_drops_objects_with_all_that_belongs_to_them() -> None:
    fields = {
        "masks": masks(),
        "crowd": torch.tensor([True, False, False]),
        "areas": torch.tensor([60.0, 128, 800]),
        "extras": {"x/number": torch.tensor([10, 20, 30])},
        "image_extras": {"x/whole": torch.tensor([1, 2])},
    }
    result, targets = apply(make(**fields), Crop(0, 20, 20, 15))
    assert result.image.shape == (3, 20, 15)
    assert targets.boxes.tolist() == [[10, 2, 15, 18], [0, 0, 15, 20]]
    assert targets.labels.tolist() == [6, 7]
    assert targets.crowd is not None
    assert targets.crowd.tolist() == [False, False]
    assert targets.masks is not None
    assert [box_of(mask) for mask in targets.masks] == targets.boxes.int().tolist()
    assert targets.extras["x/number"].tolist() == [20, 30]
    assert targets.image_extras["x/whole"].tolist() == [1, 2]
    # 80 of 128 and 300 of 800 square pixels of the boxes are left.
    assert targets.areas is not None
    assert targets.areas.tolist() == [80.0, 300.0]


def test_box_that_left_image_does_not_come_back_with_padding() -> None:
    _, targets = apply(make(), Crop(0, 0, 20, 20), v2.Pad(20))
    assert targets.labels.tolist() == [5, 7]
    assert targets.boxes.tolist() == [[22, 24, 32, 30], [20, 20, 40, 40]]


def test_polygons_follow_and_objects_that_are_gone_take_theirs_along() -> None:
    outlines = Polygons.of([[[x0, y0, x1, y0, x1, y1]] for x0, y0, x1, y1 in BOXES.tolist()])
    _, targets = apply(make(masks=outlines), FLIP, Crop(0, 20, 20, 15), v2.Resize((40, 30)))
    assert targets.labels.tolist() == [5, 7]
    assert isinstance(targets.masks, Polygons)
    # x becomes 2 (40 - x - 20) and y 2 y; what lies outside the image stays there.
    assert [rings[0].tolist() for rings in targets.masks] == [
        [[36, 8], [16, 8], [16, 20]],
        [[40, 0], [-40, 0], [-40, 40]],
    ]
    _, sane = apply(make(masks=outlines), Crop(0, 20, 20, 15), v2.SanitizeBoundingBoxes())
    assert isinstance(sane.masks, Polygons)
    assert len(sane.masks) == len(sane) == 2


def test_what_is_left_of_object_must_have_pixel() -> None:
    assert apply(make(), Crop(0, 0, 20, 31))[1].labels.tolist() == [5, 6, 7]
    assert apply(make(), Crop(0, 0, 20, 30))[1].labels.tolist() == [5, 7]
    no_pixel = masks()
    no_pixel[0] = False
    assert apply(make(masks=no_pixel), FLIP)[1].labels.tolist() == [6, 7]


def test_resize_scales_everything() -> None:
    points = torch.tensor([[[10.0, 4, 2]], [[0, 0, 0]], [[40, 20, 1]]])
    result, targets = apply(
        make(masks=masks(), keypoints=points, areas=torch.tensor([50.0, 60, 70])), v2.Resize((40, 20))
    )
    assert result.image.shape == (3, 40, 20)
    assert result.image.dtype == torch.uint8
    assert targets.boxes.tolist() == [[1, 8, 6, 20], [15, 4, 19, 36], [0, 0, 20, 40]]
    assert targets.masks is not None
    assert [box_of(mask) for mask in targets.masks] == targets.boxes.int().tolist()
    assert targets.keypoints is not None
    assert targets.keypoints.tolist() == [[[5, 8, 2]], [[0, 0, 0]], [[20, 40, 1]]]
    assert targets.areas is not None
    assert targets.areas.tolist() == [50, 60, 70]


def test_keypoints_follow_in_continuous_coordinates_and_end_at_edge() -> None:
    points = torch.tensor([[[3.0, 6, 2], [39.5, 1, 1]], [[31, 3, 2], [0, 0, 0]], [[0.5, 0.5, 1], [20, 10, 2]]])
    _, flipped = apply(make(keypoints=points), FLIP)
    assert flipped.keypoints is not None
    assert flipped.keypoints.tolist() == [
        [[37, 6, 2], [0.5, 1, 1]],
        [[9, 3, 2], [0, 0, 0]],
        [[39.5, 0.5, 1], [20, 10, 2]],
    ]
    _, cropped = apply(make(keypoints=points), Crop(0, 10, 20, 25))
    assert cropped.keypoints is not None
    assert cropped.keypoints.tolist() == [[[0, 0, 0], [0, 0, 0]], [[21, 3, 2], [0, 0, 0]], [[0, 0, 0], [10, 10, 2]]]


@pytest.mark.parametrize(
    ("transforms", "swapped"),
    [
        ([FLIP], True),
        ([v2.RandomVerticalFlip(1.0)], True),
        ([FLIP, v2.RandomVerticalFlip(1.0)], False),
        ([v2.Resize((10, 40)), FLIP], True),
        ([v2.RandomRotation((180, 180))], False),
        ([v2.Resize((10, 40))], False),
    ],
)
def test_left_and_right_change_places_in_a_mirror(transforms: list[Any], swapped: bool) -> None:
    points = torch.tensor([[[20.0, 10, 2], [20, 10, 1], [20, 10, 2]]]).repeat(3, 1, 1)
    _, targets = apply(make(keypoints=points), *transforms, flip_pairs=[(1, 2)])
    assert targets.keypoints is not None
    assert targets.keypoints[0, :, 2].tolist() == ([2, 2, 1] if swapped else [2, 1, 2])


class Marks(tv_tensors.TVTensor):
    """One x per object, with kernels of its own: an extra as a plugin would bring it."""

    width: int

    @classmethod
    def made(cls, data: Tensor, width: int) -> "Marks":
        marks = data.as_subclass(cls)
        marks.width = width
        return marks

    @classmethod
    def wrap(cls, tensor: Tensor, like: "Marks", width: int | None = None) -> "Marks":
        return cls.made(tensor, like.width if width is None else width)


@functional.register_kernel("horizontal_flip", Marks)
def _flip_marks(marks: Marks) -> Marks:
    return tv_tensors.wrap(marks.width - marks.as_subclass(Tensor), like=marks)


@functional.register_kernel("crop", Marks)
def _crop_marks(marks: Marks, top: int, left: int, height: int, width: int) -> Marks:
    return tv_tensors.wrap(marks.as_subclass(Tensor) - left, like=marks, width=width)


@functional.register_kernel("resize", Marks)
def _resize_marks(marks: Marks, size: list[int], **_: Any) -> Marks:
    return tv_tensors.wrap(marks.as_subclass(Tensor) * size[1] / marks.width, like=marks, width=size[1])


def test_extras_with_kernels_of_their_own_follow_flip_crop_and_resize() -> None:
    extras = {
        "x/marks": Marks.made(torch.tensor([7.0, 34, 20]), WIDTH),
        "x/points": Points(torch.tensor([[7.0, 7], [34, 10], [20, 10]]), canvas_size=(HEIGHT, WIDTH)),
    }
    # Mirrored: x 33, 6, 20. Cropped from 12 on: the second object is gone; x 21, 8 of 28. At half the size: 10.5, 4.
    steps = (FLIP, Crop(0, 12, 20, 28), lambda sample: sample, ResizeShortestEdge(10))
    result, targets = apply(make(extras=extras), *steps)
    assert result.size == (10, 14)
    assert targets.labels.tolist() == [5, 7]
    assert targets.extras["x/marks"].tolist() == [10.5, 4]
    assert targets.extras["x/points"].tolist() == [[10.5, 3.5], [4, 5]]
    assert isinstance(targets.extras["x/marks"], Marks)
    assert isinstance(targets.extras["x/points"], Points)


def test_extra_that_cannot_be_resized_is_reported() -> None:
    class Stubborn(tv_tensors.TVTensor):
        pass

    sample = make(extras={"x/stubborn": torch.zeros(3).as_subclass(Stubborn)})
    with pytest.raises(TypeError, match="Stubborn"):
        compose([ResizeShortestEdge(10)])(sample)


def test_torchvisions_own_sanitiser_leaves_nothing_behind() -> None:
    fields = {
        "masks": masks(),
        "crowd": torch.tensor([True, False, False]),
        "keypoints": torch.tensor([[[3.0, 6, 2]], [[31, 3, 2]], [[20, 10, 2]]]),
        "extras": {"x/n": torch.tensor([1, 2, 3])},
    }
    plain = apply(make(**fields), Crop(0, 20, 20, 20))[1]
    targets = apply(make(**fields), Crop(0, 20, 20, 20), v2.SanitizeBoundingBoxes())[1]
    assert targets.labels.tolist() == [6, 7]
    for name in ("boxes", "labels", "crowd", "masks", "keypoints"):
        assert torch.equal(getattr(targets, name), getattr(plain, name)), name
    assert targets.extras["x/n"].tolist() == [2, 3]


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomHorizontalFlip(1.0),
        v2.RandomIoUCrop(),
        v2.RandomZoomOut(p=1.0),
        v2.RandomRotation(30, expand=True),
        v2.RandomAffine(20, (0.1, 0.1), (0.5, 1.5), 10),
        v2.RandomPerspective(p=1.0),
        v2.RandomCrop((10, 10)),
        v2.RandomCrop((60, 60), pad_if_needed=True),
        v2.ScaleJitter((50, 50)),
        v2.RandomResizedCrop((16, 16)),
        v2.ElasticTransform(sigma=1.0),
        v2.RandomPhotometricDistort(p=1.0),
        v2.ColorJitter(0.4, 0.4, 0.4),
        v2.GaussianBlur(3),
        v2.CenterCrop(10),
        v2.ConvertBoundingBoxFormat("CXCYWH"),
        v2.RandomShortestSize([10, 30], 50),
        ResizeShortestEdge((10, 30), 50, draw="range"),
    ],
    ids=lambda transform: type(transform).__name__,
)
@pytest.mark.parametrize("empty", [False, True])
def test_every_transform_of_torchvision_keeps_the_targets_sound(transform: Any, empty: bool) -> None:
    torch.manual_seed(0)
    points = torch.tensor([[[3.0, 6, 2]], [[31, 3, 2]], [[20, 10, 2]]])
    sample = make(masks=masks(), keypoints=points, semantic=torch.zeros((HEIGHT, WIDTH), dtype=torch.int64))
    assert sample.targets is not None
    if empty:
        sample = replace(sample, targets=sample.targets[:0])
    result, targets = apply(sample, transform)
    height, width = result.size
    assert targets.masks is not None
    assert targets.keypoints is not None
    assert targets.semantic is not None
    assert targets.masks.shape == (len(targets), height, width)
    assert targets.semantic.shape == (height, width)
    assert targets.keypoints.shape == (len(targets), 1, 3)
    assert (targets.boxes[:, 2:] - targets.boxes[:, :2] >= 1).all()
    assert (targets.boxes >= 0).all()
    assert (targets.boxes <= torch.tensor([width, height, width, height])).all()


def test_image_without_targets_is_transformed_alone() -> None:
    sample = replace(make(), targets=None)
    result = compose([FLIP])(sample)
    assert result.targets is None
    assert torch.equal(result.image, sample.image.flip(2))


def test_users_own_transform_stands_between_torchvisions() -> None:
    def keep_first(sample: Sample) -> Sample:
        assert sample.targets is not None
        return replace(sample, targets=sample.targets[:1])

    _, targets = apply(make(), FLIP, keep_first, FLIP)
    assert targets.boxes.tolist() == [[2, 4, 12, 10]]


def test_what_is_no_transform_of_samples_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"transforms\[1\]: .*use torchvision.transforms.v2:RandomHorizontalFlip"):
        compose([FLIP, v1.RandomHorizontalFlip()])
    with pytest.raises(ConfigError, match=r"train_transforms\[0\]: must be callable; got 3"):
        compose([3], where="train_transforms")
    with pytest.raises(StructureError, match="transform <lambda>: must return a Sample; got Tensor"):
        compose([lambda sample: sample.image])(make())
    with pytest.raises(StructureError, match="leave out conversions and normalisation"):
        compose([v2.ToDtype(torch.float32, scale=True)])(make())


@pytest.mark.parametrize(
    ("size", "short", "longest", "expected"),
    [
        ((480, 640), 800, 1333, (800, 1067)),
        ((640, 480), 800, 1333, (1067, 800)),
        ((300, 900), 800, 1333, (444, 1333)),
        ((480, 640), 320, None, (320, 427)),
        ((1, 1), 800, 1333, (800, 800)),
        ((1, 5000), 800, 1333, (1, 1333)),
    ],
)
def test_shorter_side_is_resized_within_the_longest(
    size: tuple[int, int], short: int, longest: int | None, expected: tuple[int, int]
) -> None:
    assert ResizeShortestEdge(short, longest).resized(size, short) == expected


def test_sizes_are_drawn_from_a_choice_or_a_range() -> None:
    torch.manual_seed(0)

    def drawn(transform: ResizeShortestEdge) -> set[int]:
        return {min(compose([transform])(make()).size) for _ in range(60)}

    assert drawn(ResizeShortestEdge((10, 14))) == {10, 14}
    assert drawn(ResizeShortestEdge((10, 14), draw="range")) == {10, 11, 12, 13, 14}


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"ResizeShortestEdge.size: must be one or several positive numbers; got 0"):
        ResizeShortestEdge(0)
    with pytest.raises(ConfigError, match=r"must be the smallest and the largest; got \(3, 2\)"):
        ResizeShortestEdge((3, 2), draw="range")
    with pytest.raises(ConfigError, match="max_size"):
        ResizeShortestEdge(3, 0)
