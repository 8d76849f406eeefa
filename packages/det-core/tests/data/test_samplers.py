"""Samplers: what a pass shows, grouping by shape, and going on at the exact sample."""

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from det_core.contracts import Indexed, Sampler
from det_core.data import CocoDataset, ShuffleSampler, TrainLoader
from det_core.data.loading.samplers import Stream
from det_core.errors import ConfigError, DataError
from det_core.structures import Sample
from det_devkit.coco_files import content, write
from det_devkit.datasets import LabelledImages

FOUR = LabelledImages([[0, 0, 1], [0], [0, 0], [0]])
SHAPES = LabelledImages([[0]] * 10, [(4, 8), (8, 4), (4, 4), (4, 8), (8, 4), (4, 8), (4, 8), (4, 8), (8, 4), (4, 8)])


def ids(loader: TrainLoader, batches: int) -> list[tuple[Any, ...]]:
    return [batch.ids for batch in islice(loader, batches)]


def test_pass_is_function_of_its_number_and_seed() -> None:
    for make in (lambda seed: ShuffleSampler(FOUR, seed),):
        passes = [make(3).epoch(number).tolist() for number in (5, 0, 5)]
        assert passes[0] == passes[2] == make(3).epoch(5).tolist()
        assert [make(4).epoch(number).tolist() for number in range(9)] != [
            make(3).epoch(number).tolist() for number in range(9)
        ]
        assert isinstance(make(0), Sampler)


@pytest.mark.parametrize("grouped", [False, True])
def test_stream_that_starts_later_goes_on_as_uninterrupted_one(grouped: bool) -> None:
    options: dict[str, Any] = {"dataset": SHAPES, "batch_size": 3, "aspect_ratio_grouping": grouped}
    options["sampler"] = ShuffleSampler(SHAPES, 5)
    whole = ids(TrainLoader(**options), 30)
    assert ids(TrainLoader(**options, start=33), 19) == whole[11:]
    assert ids(TrainLoader(**options, start=33, workers=2), 19) == whole[11:]


def test_processes_that_train_together_share_the_stream() -> None:
    options: dict[str, Any] = {"dataset": SHAPES, "aspect_ratio_grouping": True}
    alone = ids(TrainLoader(**options, batch_size=4), 6)
    first, second = (ids(TrainLoader(**options, batch_size=2, rank=rank, world_size=2), 6) for rank in (0, 1))
    assert [own + other for own, other in zip(first, second, strict=True)] == alone


def test_grouped_batch_holds_images_of_one_shape_and_none_is_lost() -> None:
    loader = TrainLoader(dataset=SHAPES, batch_size=4, aspect_ratio_grouping=True)
    batches = list(islice(loader, 100))
    for batch in batches:
        assert len({width > height for height, width in batch.images.sizes}) == 1
    shown = Counter(i for batch in batches for i in batch.ids)
    # 400 samples are 40 passes, of which a few images still wait for others of their shape.
    assert set(shown) == set(range(10))
    assert max(shown.values()) - min(shown.values()) <= 1


def test_group_comes_when_its_last_image_does() -> None:
    class InOrder:
        def epoch(self, number: int) -> Any:
            return np.arange(6) + 6 * (number % 2)

    wide = np.array([True, False, True, True, True, False, True, True, False, False, False, True])
    stream = Stream(InOrder(), 2, wide)
    assert [stream(position, 0) for position in range(12)] == [0, 2, 3, 4, 1, 5, 6, 7, 8, 9, 11, 0]


def test_stream_can_be_asked_for_an_earlier_position_again() -> None:
    stream = Stream(ShuffleSampler(FOUR))
    order = [stream(position, 0) for position in range(20)]
    assert [stream(position, 0) for position in (19, 0, 7)] == [order[19], order[0], order[7]]


def test_coco_dataset_knows_its_images_without_reading_them(tmp_path: Path) -> None:
    images, annotations = write(tmp_path, content(4))
    dataset = CocoDataset(images, annotations, keep_empty=False)
    for file in images.iterdir():
        file.unlink()
    assert isinstance(dataset, Indexed)
    assert [dataset.size_of(index) for index in range(len(dataset))] == [(30, 40)] * 3
    assert [list(dataset.labels_of(index)) for index in range(len(dataset))] == [[1], [1, 0], [1, 0, 1]]


def test_what_cannot_be_sampled_is_reported() -> None:
    class Blind:
        classes, evaluators = ("a",), ()

        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Sample:
            return FOUR[index]

    with pytest.raises(ConfigError, match="aspect_ratio_grouping: needs to know what Blind holds"):
        next(iter(TrainLoader(dataset=Blind(), batch_size=1, aspect_ratio_grouping=True)))

    class Nothing:
        def epoch(self, number: int) -> Any:
            return []

    with pytest.raises(DataError, match="Nothing: pass 0 holds no image"):
        next(iter(TrainLoader(dataset=FOUR, batch_size=1, sampler=Nothing())))


@pytest.mark.parametrize("make", [ShuffleSampler])
def test_processes_share_out_stream_and_go_on_at_exact_sample(make: Any) -> None:
    dataset = LabelledImages([[0], [1], [0, 1], [0], [0]])

    def loader(**options: Any) -> TrainLoader:
        return TrainLoader(dataset=dataset, sampler=make(dataset, seed=5), **options)

    whole = [number for each in ids(loader(batch_size=1), 24) for number in each]
    both = [ids(loader(batch_size=2, rank=rank, world_size=2), 6) for rank in range(2)]
    assert [number for pair in zip(*both, strict=True) for each in pair for number in each] == whole
    later = [ids(loader(batch_size=2, rank=rank, world_size=2, start=12), 3) for rank in range(2)]
    assert [number for pair in zip(*later, strict=True) for each in pair for number in each] == whole[12:]
