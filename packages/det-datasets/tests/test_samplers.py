"""Samplers: how often images of rare classes are shown."""

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from det_core.contracts import Sampler
from det_core.data import Data, TrainLoader
from det_core.errors import ConfigError, DataError
from det_core.recipes.check import check
from det_core.structures import Sample
from det_datasets.samplers import ClassBalancedSampler, RepeatFactorSampler
from det_devkit.coco_files import content, write
from det_devkit.datasets import LabelledImages


def ids(loader: TrainLoader, batches: int) -> list[tuple[Any, ...]]:
    return [batch.ids for batch in islice(loader, batches)]


FOUR = LabelledImages([[0, 0, 1], [0], [0, 0], [0]])


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


def test_image_without_objects_has_repeat_factor_one() -> None:
    assert RepeatFactorSampler(LabelledImages([[], [1], [0], [0]]), 1.0).factors.tolist() == pytest.approx(
        [1, 2, 2**0.5, 2**0.5]
    )


def test_fractional_repeat_factor_is_rounded_at_random_per_epoch() -> None:
    sampler = RepeatFactorSampler(FOUR, 0.5, seed=1)
    passes = [sampler.epoch(number) for number in range(400)]
    shown = [Counter(each.tolist()) for each in passes]
    assert all(counts[1] == counts[2] == counts[3] == 1 for counts in shown)
    assert {counts[0] for counts in shown} == {1, 2}
    assert np.mean([counts[0] for counts in shown]) == pytest.approx(2**0.5, abs=0.08)
    assert len({tuple(each.tolist()) for each in passes}) > 20


def test_recipe_names_sampler_and_threshold(tmp_path: Path) -> None:
    images, annotations = write(tmp_path, content(5))
    node = {
        "train": {"type": "coco", "images": str(images), "annotations": str(annotations)},
        "sampler": {"type": "det_datasets.samplers:RepeatFactorSampler", "threshold": 1.0},
        "aspect_ratio_grouping": True,
        "workers": 0,
    }
    loader = check(node, Data, "data").build().train_loader(batch_size=2, seed=7)
    assert isinstance(loader.sampler, RepeatFactorSampler)
    # Four images hold a cat and three a dog (a crowd counts); image 0 nothing.
    assert loader.sampler.factors.tolist() == pytest.approx([1, (5 / 4) ** 0.5, *[(5 / 3) ** 0.5] * 3])
    assert len(next(iter(loader))) == 2


def test_repeat_factor_sampler_refuses_missing_labels_and_invalid_threshold() -> None:
    class Blind:
        classes, evaluators = ("a",), ()

        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Sample:
            return FOUR[index]

    with pytest.raises(ConfigError, match=r"RepeatFactorSampler: needs to know what Blind holds .*`labels_of`"):
        RepeatFactorSampler(Blind(), 0.1)
    with pytest.raises(ConfigError, match=r"threshold: must be from 0 to 1; got 2"):
        RepeatFactorSampler(FOUR, 2.0)


def test_class_balanced_sampler_draws_each_class_equally_often() -> None:
    # One image of the rare class beside 98 of the common one, and one that shows nothing.
    sampler = ClassBalancedSampler(LabelledImages([[1], *[[0, 0]] * 98, []]), seed=3)
    assert isinstance(sampler, Sampler)
    passes = np.concatenate([sampler.epoch(number) for number in range(20)])
    assert len(passes) == 20 * 100
    counts = np.bincount(passes, minlength=100)
    assert 900 < counts[0] < 1100
    assert counts[99] == 0
    assert counts[1:99].min() >= 1
    assert (
        sampler.epoch(7).tolist()
        == ClassBalancedSampler(LabelledImages([[1], *[[0, 0]] * 98, []]), seed=3).epoch(7).tolist()
    )
    assert sampler.epoch(7).tolist() != sampler.epoch(8).tolist()
    with pytest.raises(DataError, match="there is no class to sample"):
        ClassBalancedSampler(LabelledImages([[], []]))


@pytest.mark.parametrize("make", [ClassBalancedSampler, lambda dataset, seed: RepeatFactorSampler(dataset, 0.9, seed)])
def test_sampler_shards_over_processes_and_resumes_exactly(make: Any) -> None:
    dataset = LabelledImages([[0], [1], [0, 1], [0], [0]])

    def loader(**options: Any) -> TrainLoader:
        return TrainLoader(dataset=dataset, sampler=make(dataset, seed=5), **options)

    whole = [number for each in ids(loader(batch_size=1), 24) for number in each]
    both = [ids(loader(batch_size=2, rank=rank, world_size=2), 6) for rank in range(2)]
    assert [number for pair in zip(*both, strict=True) for each in pair for number in each] == whole
    later = [ids(loader(batch_size=2, rank=rank, world_size=2, start=12), 3) for rank in range(2)]
    assert [number for pair in zip(*later, strict=True) for each in pair for number in each] == whole[12:]
