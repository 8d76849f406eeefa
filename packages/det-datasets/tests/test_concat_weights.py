"""ConcatDataset with weights: what passes of training hold of each dataset."""

import math
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from det_core.contracts import Sampler
from det_core.data import Data, ShuffleSampler, TrainLoader
from det_core.errors import ConfigError
from det_core.recipes import Factory
from det_core.recipes.check import check
from det_core.structures import Sample, Targets
from det_datasets.wrappers import ConcatDataset
from det_devkit import coco_files


class Numbered:
    """Samples with ids that count from `first`, without a file."""

    classes, evaluators = ("dog",), ()

    def __init__(self, first: int, count: int) -> None:
        self.first, self.count = first, count

    def __len__(self) -> int:
        return self.count

    def id_of(self, index: int) -> int:
        return self.first + index

    def __getitem__(self, index: int) -> Sample:
        targets = Targets(boxes=torch.tensor([[0.0, 0, 4, 4]]), labels=torch.zeros(1, dtype=torch.int64))
        return Sample(image=torch.zeros(3, 8, 8, dtype=torch.uint8), id=self.first + index, targets=targets)


def both(weights: Any, counts: tuple[int, ...] = (6, 2)) -> ConcatDataset:
    firsts = [sum(counts[:k]) for k in range(len(counts))]
    return ConcatDataset([Numbered(first, count) for first, count in zip(firsts, counts, strict=True)], weights)


def sampler(weights: Any, counts: tuple[int, ...] = (6, 2), seed: int = 3) -> Sampler:
    found = both(weights, counts).sampler(seed)
    assert isinstance(found, Sampler)
    return found


def test_concat_weights_shares_counted_by_hand() -> None:
    # 8 draws, half of each: 4 of the 6 images once each; each of the other 2 twice.
    for number in range(20):
        seen = Counter(sampler([1, 1]).epoch(number).tolist())
        assert sum(seen[index] for index in range(6)) == 4
        assert max(seen[index] for index in range(6)) == 1
        assert (seen[6], seen[7]) == (2, 2)


def test_concat_weights_full_repeats_precede_partial_repeat() -> None:
    # 8 draws, 5/8 of the second with 2 images: each twice, and one of them a third time.
    thirds = set()
    for number in range(30):
        seen = Counter(sampler([3, 5]).epoch(number).tolist())
        assert sorted((seen[6], seen[7])) == [2, 3]
        thirds.add(seen[6])
    assert thirds == {2, 3}


def test_concat_weights_fractional_draws_average_to_exact_share() -> None:
    # 10 draws in thirds: 3 or 4 of each, 10/3 on average.
    shares = sampler([2, 2, 2], (5, 4, 1))
    counts = np.array([np.histogram(shares.epoch(number), [0, 5, 9, 10])[0] for number in range(3000)])
    assert (counts.sum(1) == 10).all()
    assert set(np.unique(counts)) == {3, 4}
    assert np.abs(counts.mean(0) - 10 / 3).max() < 0.05


def test_concat_weights_below_one_draw_are_sampled_occasionally() -> None:
    shares = sampler([1, 1e-2], (6, 2))
    seen = [int((shares.epoch(number) >= 6).sum()) for number in range(400)]
    assert set(seen) == {0, 1}
    assert abs(np.mean(seen) - 8 * 0.01 / 1.01) < 0.04


def test_concat_weights_pass_depends_on_seed_and_number_alone() -> None:
    assert np.array_equal(sampler([1, 2]).epoch(5), sampler([1, 2]).epoch(5))
    assert not np.array_equal(sampler([1, 2]).epoch(5), sampler([1, 2]).epoch(6))
    assert not np.array_equal(sampler([1, 2]).epoch(5), sampler([1, 2], seed=4).epoch(5))
    # Scaled weights are the same weights.
    assert np.array_equal(sampler([1, 2]).epoch(5), sampler([0.5, 1]).epoch(5))


def test_concat_without_weights_has_no_sampler() -> None:
    assert both(None).sampler(0) is None


def ids(loader: TrainLoader, batches: int) -> list[Any]:
    return [each for batch in islice(loader, batches) for each in batch.ids]


def data(weights: Any, **options: Any) -> Data:
    return Data(train=Factory(both, weights=weights), workers=0, **options)


def test_concat_weights_in_train_loader_resume_at_exact_sample() -> None:
    whole = ids(data([1, 3]).train_loader(2, seed=7), 12)
    counts = Counter(whole)
    assert sum(count for index, count in counts.items() if index >= 6) == 18  # 6 of 8 draws in each of 3 passes
    for start in (1, 4, 7):
        assert ids(data([1, 3]).train_loader(2, seed=7, start=2 * start), 12 - start) == whole[2 * start :]


def test_concat_weights_two_processes_share_the_stream_of_one() -> None:
    one = ids(data([1, 3]).train_loader(4, seed=7), 6)
    ranks = [ids(data([1, 3]).train_loader(2, seed=7, rank=rank, world_size=2), 6) for rank in (0, 1)]
    assert sorted(ranks[0] + ranks[1]) == sorted(one)
    for step in range(6):
        together = [each for rank in ranks for each in rank[2 * step : 2 * step + 2]]
        assert sorted(together) == sorted(one[4 * step : 4 * step + 4])


@pytest.mark.parametrize("weights", [[1], [1, 2, 3], [1, 0], [1, -1], [1, math.inf], [math.nan, 1], []])
def test_concat_weights_that_cannot_be_shares_are_an_error(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"ConcatDataset.weights: must be one finite number above 0 for each"):
        both(weights)


def test_concat_weights_of_an_empty_dataset_are_an_error() -> None:
    with pytest.raises(ConfigError, match="none of which is empty"):
        both([1, 1], (3, 0))
    assert len(both(None, (3, 0))) == 3


def test_concat_weights_within_another_concat_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r"datasets\[1\]: draws its images by weights of its own"):
        ConcatDataset([Numbered(20, 3), both([1, 2])], [1, 1]).sampler(0)
    assert ConcatDataset([Numbered(20, 3), both(None)], [1, 1]).sampler(0) is not None


def test_concat_weights_beside_a_sampler_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r"data.sampler: cannot choose images that data.train draws by weights"):
        data([1, 1], sampler=Factory(ShuffleSampler)).train_loader(2)
    data(None, sampler=Factory(ShuffleSampler)).train_loader(2)


def test_concat_weights_are_spelled_in_a_recipe(tmp_path: Path) -> None:
    parts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        images, annotations = coco_files.write(tmp_path / name, coco_files.content(2))
        parts.append({"type": "coco", "images": str(images), "annotations": str(annotations)})
    section = {"train": {"type": "concat", "datasets": parts, "weights": [3, 1]}, "workers": 0}
    built: Data = check(section, Data, "data").build()
    seen = Counter(str(each).split("/")[0] for each in ids(built.train_loader(4, seed=1), 5))
    assert seen == {"0": 15, "1": 5}
