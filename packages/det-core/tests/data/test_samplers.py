"""Samplers: what a pass shows, grouping by shape, and going on at the exact sample."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coco_files import content, write
from det_core.contracts import Indexed, Sampler
from det_core.data import ClassBalancedSampler, CocoDataset, Data, RepeatFactorSampler, ShuffleSampler, TrainLoader
from det_core.data.loading.samplers import Stream
from det_core.errors import ConfigError, DataError
from det_core.recipes.check import check
from det_core.structures import Sample, Targets


class Known:
    """Image i has the labels and the (height, width) that are given."""

    classes: Sequence[str] = ("common", "rare", "never")
    evaluators: Sequence[str] = ()

    def __init__(self, labels: Sequence[Sequence[int]], sizes: Sequence[tuple[int, int]] = ()) -> None:
        self.labels, self.sizes = labels, sizes or [(4, 4)] * len(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        targets = Targets(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))
        return Sample(image=torch.zeros(3, *self.sizes[index], dtype=torch.uint8), targets=targets, id=index)

    def size_of(self, index: int) -> tuple[int, int]:
        return self.sizes[index]

    def labels_of(self, index: int) -> Sequence[int]:
        return self.labels[index]


FOUR = Known([[0, 0, 1], [0], [0, 0], [0]])
SHAPES = Known([[0]] * 10, [(4, 8), (8, 4), (4, 4), (4, 8), (8, 4), (4, 8), (4, 8), (4, 8), (8, 4), (4, 8)])


def ids(loader: TrainLoader, batches: int) -> list[tuple[Any, ...]]:
    return [batch.ids for batch in islice(loader, batches)]


@pytest.mark.parametrize(
    ("threshold", "sqrt", "expected"),
    [
        (0.0, True, [1, 1, 1, 1]),
        (1.0, True, [2, 1, 1, 1]),  # a quarter of the images holds "rare": sqrt(1 / 0.25)
        (0.5, True, [2**0.5, 1, 1, 1]),
        (0.5, False, [2, 1, 1, 1]),
        (0.2, True, [1, 1, 1, 1]),
    ],
)
def test_images_of_rare_classes_have_larger_factors(threshold: float, sqrt: bool, expected: list[float]) -> None:
    np.testing.assert_allclose(RepeatFactorSampler(FOUR, threshold, sqrt=sqrt).factors, expected)


def test_an_image_without_objects_is_shown_once() -> None:
    assert RepeatFactorSampler(Known([[], [1], [0], [0]]), 1.0).factors.tolist() == pytest.approx(
        [1, 2, 2**0.5, 2**0.5]
    )


def test_the_fraction_of_a_factor_is_a_chance_drawn_anew_in_each_pass() -> None:
    sampler = RepeatFactorSampler(FOUR, 0.5, seed=1)
    passes = [sampler.epoch(number) for number in range(400)]
    shown = [Counter(each.tolist()) for each in passes]
    assert all(counts[1] == counts[2] == counts[3] == 1 for counts in shown)
    assert {counts[0] for counts in shown} == {1, 2}
    assert np.mean([counts[0] for counts in shown]) == pytest.approx(2**0.5, abs=0.08)
    assert len({tuple(each.tolist()) for each in passes}) > 20


def test_a_pass_is_a_function_of_its_number_and_the_seed() -> None:
    for make in (lambda seed: ShuffleSampler(FOUR, seed), lambda seed: RepeatFactorSampler(FOUR, 0.5, seed)):
        passes = [make(3).epoch(number).tolist() for number in (5, 0, 5)]
        assert passes[0] == passes[2] == make(3).epoch(5).tolist()
        assert [make(4).epoch(number).tolist() for number in range(9)] != [
            make(3).epoch(number).tolist() for number in range(9)
        ]
        assert isinstance(make(0), Sampler)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_stream_that_starts_later_goes_on_as_an_uninterrupted_one(grouped: bool) -> None:
    options: dict[str, Any] = {"dataset": SHAPES, "batch_size": 3, "aspect_ratio_grouping": grouped}
    options["sampler"] = RepeatFactorSampler(Known([[0, 1], *[[0]] * 9]), 0.5)
    whole = ids(TrainLoader(**options), 30)
    assert ids(TrainLoader(**options, start=33), 19) == whole[11:]
    assert ids(TrainLoader(**options, start=33, workers=2), 19) == whole[11:]


def test_processes_that_train_together_share_the_stream() -> None:
    options: dict[str, Any] = {"dataset": SHAPES, "aspect_ratio_grouping": True}
    alone = ids(TrainLoader(**options, batch_size=4), 6)
    first, second = (ids(TrainLoader(**options, batch_size=2, rank=rank, world_size=2), 6) for rank in (0, 1))
    assert [own + other for own, other in zip(first, second, strict=True)] == alone


def test_a_grouped_batch_holds_images_of_one_shape_and_none_is_lost() -> None:
    loader = TrainLoader(dataset=SHAPES, batch_size=4, aspect_ratio_grouping=True)
    batches = list(islice(loader, 100))
    for batch in batches:
        assert len({width > height for height, width in batch.images.sizes}) == 1
    shown = Counter(i for batch in batches for i in batch.ids)
    # 400 samples are 40 passes, of which a few images still wait for others of their shape.
    assert set(shown) == set(range(10))
    assert max(shown.values()) - min(shown.values()) <= 1


def test_a_group_comes_when_its_last_image_does() -> None:
    class InOrder:
        def epoch(self, number: int) -> Any:
            return np.arange(6) + 6 * (number % 2)

    wide = np.array([True, False, True, True, True, False, True, True, False, False, False, True])
    stream = Stream(InOrder(), 2, wide)
    assert [stream(position, 0) for position in range(12)] == [0, 2, 3, 4, 1, 5, 6, 7, 8, 9, 11, 0]


def test_a_stream_can_be_asked_for_an_earlier_position_again() -> None:
    stream = Stream(ShuffleSampler(FOUR))
    order = [stream(position, 0) for position in range(20)]
    assert [stream(position, 0) for position in (19, 0, 7)] == [order[19], order[0], order[7]]


def test_a_recipe_names_a_sampler_and_its_threshold(tmp_path: Path) -> None:
    images, annotations = write(tmp_path, content(5))
    node = {
        "train": {"type": "coco", "images": str(images), "annotations": str(annotations)},
        "sampler": {"type": "det_core.data:RepeatFactorSampler", "threshold": 1.0},
        "aspect_ratio_grouping": True,
        "workers": 0,
    }
    loader = check(node, Data, "data").build().train_loader(batch_size=2, seed=7)
    assert isinstance(loader.sampler, RepeatFactorSampler)
    # Four images hold a cat and three a dog (a crowd counts); image 0 nothing.
    assert loader.sampler.factors.tolist() == pytest.approx([1, (5 / 4) ** 0.5, *[(5 / 3) ** 0.5] * 3])
    assert len(next(iter(loader))) == 2


def test_a_coco_dataset_knows_its_images_without_reading_them(tmp_path: Path) -> None:
    images, annotations = write(tmp_path, content(4))
    dataset = CocoDataset(images, annotations, keep_empty=False)
    for file in images.iterdir():
        file.unlink()
    assert isinstance(dataset, Indexed)
    assert [dataset.size_of(index) for index in range(len(dataset))] == [(30, 40)] * 3
    assert [list(dataset.labels_of(index)) for index in range(len(dataset))] == [[1], [1, 0], [1, 0, 1]]


def test_what_cannot_be_sampled_is_told() -> None:
    class Blind:
        classes, evaluators = ("a",), ()

        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Sample:
            return FOUR[index]

    with pytest.raises(ConfigError, match=r"RepeatFactorSampler: needs to know what Blind holds .*`labels_of`"):
        RepeatFactorSampler(Blind(), 0.1)
    with pytest.raises(ConfigError, match="aspect_ratio_grouping: needs to know what Blind holds"):
        next(iter(TrainLoader(dataset=Blind(), batch_size=1, aspect_ratio_grouping=True)))
    with pytest.raises(ConfigError, match=r"threshold: must be from 0 to 1; got 2"):
        RepeatFactorSampler(FOUR, 2.0)

    class Nothing:
        def epoch(self, number: int) -> Any:
            return []

    with pytest.raises(DataError, match="Nothing: pass 0 holds no image"):
        next(iter(TrainLoader(dataset=FOUR, batch_size=1, sampler=Nothing())))


def test_each_class_is_drawn_as_often_as_any_other_whatever_it_has() -> None:
    # One image of the rare class beside 98 of the common one, and one that shows nothing.
    sampler = ClassBalancedSampler(Known([[1], *[[0, 0]] * 98, []]), seed=3)
    assert isinstance(sampler, Sampler)
    passes = np.concatenate([sampler.epoch(number) for number in range(20)])
    assert len(passes) == 20 * 100
    counts = np.bincount(passes, minlength=100)
    assert 900 < counts[0] < 1100
    assert counts[99] == 0
    assert counts[1:99].min() >= 1
    assert sampler.epoch(7).tolist() == ClassBalancedSampler(Known([[1], *[[0, 0]] * 98, []]), seed=3).epoch(7).tolist()
    assert sampler.epoch(7).tolist() != sampler.epoch(8).tolist()
    with pytest.raises(DataError, match="there is no class to draw"):
        ClassBalancedSampler(Known([[], []]))


@pytest.mark.parametrize("make", [ShuffleSampler, ClassBalancedSampler])
def test_processes_share_out_the_stream_and_go_on_at_the_exact_sample(make: Any) -> None:
    dataset = Known([[0], [1], [0, 1], [0], [0]])

    def loader(**options: Any) -> TrainLoader:
        return TrainLoader(dataset=dataset, sampler=make(dataset, seed=5), **options)

    whole = [number for each in ids(loader(batch_size=1), 24) for number in each]
    both = [ids(loader(batch_size=2, rank=rank, world_size=2), 6) for rank in range(2)]
    assert [number for pair in zip(*both, strict=True) for each in pair for number in each] == whole
    later = [ids(loader(batch_size=2, rank=rank, world_size=2, start=12), 3) for rank in range(2)]
    assert [number for pair in zip(*later, strict=True) for each in pair for number in each] == whole[12:]
