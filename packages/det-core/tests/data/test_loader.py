"""Loaders: the stream is a function of the seed, whoever prepares it and wherever it starts."""

import multiprocessing
import os
import pickle
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from det_core.data import Batch, CocoDataset, EvalLoader, ResizeShortestEdge, TrainLoader
from det_core.data.formats.packed import PackedTexts
from det_core.data.loading.workers import _died, _Shared
from det_core.errors import ConfigError, DataError
from det_core.structures import Sample, Targets
from det_devkit.coco_files import content, write
from torch import Tensor
from torchvision.transforms import v2


class Numbers:
    """Image i is filled with i, i + 3 rows high, and holds i % 3 objects; indices in `bad` cannot be read."""

    classes: Sequence[str] = ("a", "b")
    evaluators: Sequence[str] = ()

    def __init__(self, length: int = 10, bad: Sequence[int] = (), wrong: Callable[[int], None] | None = None) -> None:
        self.length, self.bad, self.wrong = length, set(bad), wrong

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if self.wrong is not None:
            self.wrong(index)
        if index in self.bad:
            raise DataError(f"{index}.jpg", "is damaged")
        count = index % 3
        boxes = torch.tensor([[0.0, 0, 2, 2 + j] for j in range(count)]).reshape(-1, 4)
        targets = Targets(
            boxes=boxes,
            labels=torch.full((count,), index % 2),
            crowd=torch.arange(count) == 1,
            extras={"x/index": torch.full((count, 2), index)},
        )
        image = torch.full((3, index + 3, 8), index, dtype=torch.uint8)
        return Sample(image=image, targets=targets, id=index, path=Path(f"{index}.jpg"))


def noise(sample: Sample) -> Sample:
    """Depends on every generator there is."""
    value = int(torch.randint(0, 80, ())) + int(np.random.randint(0, 80)) + random.randrange(80)
    return replace(sample, image=torch.full_like(sample.image, value))


def seen(batch: Batch) -> tuple[Any, ...]:
    """Everything of a batch, comparable."""
    targets = [
        (each.boxes.tolist(), each.labels.tolist(), each.extras["x/index"].tolist()) for each in batch.targets or ()
    ]
    return batch.images.pixels.tolist(), batch.images.sizes, targets, batch.ids, batch.paths, batch.position


def take(loader: Any, count: int) -> list[tuple[Any, ...]]:
    return [seen(batch) for batch in islice(loader, count)]


def stream(**options: Any) -> TrainLoader:
    return TrainLoader(**{"dataset": Numbers(), "batch_size": 4, "transforms": [noise], **options})


def test_batch_holds_images_targets_ids_and_paths() -> None:
    batch = next(iter(stream(transforms=[])))
    assert len(batch) == 4
    assert batch.images.sizes == tuple((i + 3, 8) for i in batch.ids)  # type: ignore[operator]
    assert batch.images.pixels.dtype == torch.uint8
    assert batch.paths == tuple(Path(f"{i}.jpg") for i in batch.ids)
    assert batch.position == 4
    assert batch.samples == batch.skipped == ()
    assert batch.targets is not None
    for i, image, targets in zip(batch.ids, batch.images.pixels, batch.targets, strict=True):
        assert image[0, 0, 0] == i
        assert (targets.extras["x/index"] == i).all()


def test_crowds_are_not_learned_from() -> None:
    for batch in islice(stream(), 3):
        assert batch.targets is not None
        assert [len(targets) for targets in batch.targets] == [min(1, i % 3) for i in batch.ids]  # type: ignore[operator]


def test_each_pass_shows_every_image_once_in_new_order() -> None:
    ids = [i for batch in islice(stream(batch_size=5), 6) for i in batch.ids]
    passes = [ids[start : start + 10] for start in (0, 10, 20)]
    assert all(sorted(each) == list(range(10)) for each in passes)
    assert len({tuple(each) for each in passes}) == 3


def test_seed_decides_everything() -> None:
    assert take(stream(seed=3), 5) == take(stream(seed=3), 5)
    assert take(stream(seed=3), 5) != take(stream(seed=4), 5)


def test_same_image_is_augmented_again_in_each_pass() -> None:
    shown: dict[Any, set[int]] = {}
    for batch in islice(stream(batch_size=10), 5):
        for i, image in zip(batch.ids, batch.images.pixels, strict=True):
            shown.setdefault(i, set()).add(int(image[0, 0, 0]))
    assert all(len(values) > 2 for values in shown.values())


@pytest.mark.parametrize("workers", [1, 2])
def test_number_of_workers_changes_nothing(workers: int) -> None:
    assert take(stream(workers=workers), 7) == take(stream(), 7)


@pytest.mark.parametrize("workers", [0, 2])
def test_stream_that_starts_later_goes_on_as_uninterrupted_one(workers: int) -> None:
    whole = take(stream(), 9)
    position = whole[3][-1]
    assert position == 16
    assert take(stream(start=position, workers=workers), 5) == whole[4:]


def test_processes_that_train_together_share_one_stream() -> None:
    alone = take(stream(batch_size=2), 6)
    first, second = (take(stream(batch_size=2, rank=rank, world_size=2), 3) for rank in (0, 1))
    together = [batch for pair in zip(first, second, strict=True) for batch in pair]
    assert [batch[:-1] for batch in together] == [batch[:-1] for batch in alone]
    assert first[-1][-1] == second[-1][-1] == alone[-1][-1] == 12


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_leaves_the_random_numbers_of_the_program_alone(workers: int) -> None:
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    expected = torch.rand(3).tolist(), random.random(), np.random.rand()
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    take(stream(workers=workers), 2)
    assert (torch.rand(3).tolist(), random.random(), np.random.rand()) == expected


def test_what_workers_are_given_can_be_sent() -> None:
    from det_core.data.loading.workers import Prepare

    transforms = [ResizeShortestEdge(4), v2.RandomHorizontalFlip()]
    loader = TrainLoader(dataset=Numbers(), batch_size=2, transforms=transforms)
    work = next(loader._work())
    prepare = Prepare(dataset=Numbers(), transform=loader._transform(), seed=0, order=max)
    assert seen(pickle.loads(pickle.dumps(prepare))(work)) == seen(prepare(work))


def test_extras_of_class_of_their_own_come_out_of_workers_as_plain_tensors() -> None:
    for workers in (0, 1):
        for batch in islice(stream(workers=workers), 1):
            assert batch.targets is not None
            assert all(type(targets.extras["x/index"]) is Tensor for targets in batch.targets)


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_image_stops_with_its_own_error(workers: int) -> None:
    with pytest.raises(DataError, match=r"^6.jpg: is damaged$"):
        take(stream(dataset=Numbers(bad=[6]), workers=workers), 5)


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_image_gives_its_place_to_next_of_pass(workers: int) -> None:
    good = [i for batch in islice(stream(), 5) for i in batch.ids]
    batches = list(islice(stream(dataset=Numbers(bad=[6]), on_bad_image="skip", workers=workers), 5))
    ids = [i for batch in batches for i in batch.ids]
    skipped = [reason for batch in batches for reason in batch.skipped]
    places = [place for place, i in enumerate(good) if i == 6]
    for place in places:
        following = place + 1 if place % 10 < 9 else place - 9
        assert ids[place] == good[following]
    assert skipped == ["6.jpg: is damaged"] * len(places)
    assert len(places) == 2
    assert all(len(batch) == 4 for batch in batches)


@pytest.mark.parametrize("workers", [0, 1])
def test_only_bad_images_stop_instead_of_spinning(workers: int) -> None:
    loader = stream(dataset=Numbers(bad=range(10)), on_bad_image="skip", workers=workers)
    with pytest.raises(DataError, match=r"Numbers: none of its 10 images can be read; the last one: .*is damaged"):
        next(iter(loader))


def fail(sample: Sample) -> Sample:
    if sample.id == 3:
        raise KeyError("no such thing")
    return sample


@pytest.mark.parametrize("workers", [0, 1])
def test_transform_that_raises_is_reported_with_its_image(workers: int) -> None:
    loader = stream(transforms=[fail], workers=workers, on_bad_image="skip")
    with pytest.raises(DataError, match=r"3.jpg: transforming this image failed; KeyError: 'no such thing'") as raised:
        take(loader, 3)
    assert "in fail" in "".join(raised.value.__notes__)


def divide(index: int) -> None:
    if index == 4:
        raise ZeroDivisionError("oh")


@pytest.mark.parametrize("workers", [0, 1])
def test_dataset_that_raises_something_else_is_reported_with_its_image(workers: int) -> None:
    loader = stream(dataset=Numbers(wrong=divide), workers=workers, on_bad_image="skip")
    with pytest.raises(DataError, match="image number 4 of Numbers: reading this image failed; ZeroDivisionError: oh"):
        take(loader, 3)


def die(index: int) -> None:
    if index == 5:
        os._exit(1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the dataset reaches the worker by fork")
def test_worker_that_dies_is_reported_with_image_that_it_held() -> None:
    with pytest.raises(DataError, match="image number 5 of Numbers: a loader process died while it held this image"):
        take(stream(dataset=Numbers(wrong=die), workers=2), 4)


def hold_and_linger(held: Tensor) -> None:
    held[0] = torch.tensor([os.getpid(), 7])
    time.sleep(1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test's own process holds the image")
def test_worker_that_closed_its_pipes_but_still_ends_is_waited_for() -> None:
    held = torch.full((2, 2), -1).share_memory_()
    worker = multiprocessing.get_context("fork").Process(target=hold_and_linger, args=(held,))
    worker.start()
    while held[0, 1] < 0:
        time.sleep(0.01)
    assert "image number 7 of Numbers: a loader process died" in str(_died(Numbers(), held, EOFError()))


def test_stream_that_is_left_ends_its_workers() -> None:
    before = set(multiprocessing.active_children())
    batches: Iterator[Batch] = iter(stream(workers=2))
    next(batches)
    assert len(set(multiprocessing.active_children()) - before) == 2
    del batches
    assert set(multiprocessing.active_children()) <= before


def test_error_ends_the_workers_even_while_it_is_kept() -> None:
    before = set(multiprocessing.active_children())
    with pytest.raises(DataError) as raised:
        take(stream(dataset=Numbers(bad=[6]), workers=2), 5)
    assert set(multiprocessing.active_children()) <= before
    assert raised.value.where == "6.jpg"


def test_wrong_numbers_are_refused() -> None:
    for options in ({"batch_size": 0}, {"workers": -1}, {"seed": -1}, {"start": -1}, {"rank": 1}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            stream(**options)
    with pytest.raises(DataError, match="Numbers: holds no image"):
        stream(dataset=Numbers(0))


def test_nothing_to_learn_from_is_reported(tmp_path: Path) -> None:
    data = content()
    data["annotations"] = []
    cells = CocoDataset(*write(tmp_path, data))
    assert len(list(EvalLoader(dataset=cells, batch_size=2))) == 2
    with pytest.raises(DataError, match=r"a.json: has no annotation: there is nothing to learn from"):
        TrainLoader(dataset=cells, batch_size=2)


def test_images_without_ground_truth_can_be_predicted_but_not_learned_from() -> None:
    class Unlabelled(Numbers):
        def __getitem__(self, index: int) -> Sample:
            return replace(super().__getitem__(index), targets=None)

    assert next(iter(EvalLoader(dataset=Unlabelled(), batch_size=2))).targets is None
    with pytest.raises(DataError, match="Unlabelled: has images without annotations"):
        next(iter(stream(dataset=Unlabelled())))


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_is_one_pass_in_order_with_samples_as_stored(workers: int) -> None:
    loader = EvalLoader(dataset=Numbers(), batch_size=4, transforms=[ResizeShortestEdge(16)], workers=workers)
    batches = list(loader)
    assert len(batches) == len(loader) == 3
    assert [batch.ids for batch in batches] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
    for batch in batches:
        assert all(min(size) == 16 for size in batch.images.sizes)
        for i, sample in zip(batch.ids, batch.samples, strict=True):
            stored = Numbers()[i]  # type: ignore[index]
            assert torch.equal(sample.image, stored.image)
            assert sample.targets is not None
            assert stored.targets is not None
            assert torch.equal(sample.targets.boxes, stored.targets.boxes)
            assert isinstance(sample.targets.crowd, Tensor)
    assert [seen(batch) for batch in loader] == [seen(batch) for batch in batches]


def test_truth_to_compute_loss_with_is_moved_with_image() -> None:
    loader = EvalLoader(dataset=Numbers(), batch_size=10, transforms=[v2.Resize((16, 16))])
    batch = next(iter(loader))
    assert batch.targets is not None
    # Image 1 is 4 x 8 with a box of 2 x 2.
    assert batch.targets[1].boxes.tolist() == [[0, 0, 4, 8]]


def test_processes_that_evaluate_together_see_each_image_once() -> None:
    loaders = [EvalLoader(dataset=Numbers(), batch_size=2, rank=rank, world_size=3) for rank in range(3)]
    assert [len(loader) for loader in loaders] == [2, 2, 2]
    ids = [[i for batch in loader for i in batch.ids] for loader in loaders]
    assert ids == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("bad", [[0, 1], [4, 5], [8, 9], [0], [9], [0, 1, 4, 5, 8, 9]])
def test_evaluation_leaves_out_bad_images_and_tells_of_each_once(workers: int, bad: list[int]) -> None:
    loader = EvalLoader(dataset=Numbers(bad=bad), batch_size=2, workers=workers, on_bad_image="skip")
    batches = list(loader)
    assert [i for batch in batches for i in batch.ids] == [i for i in range(10) if i not in bad]
    assert [reason for batch in batches for reason in batch.skipped] == [f"{i}.jpg: is damaged" for i in bad]
    assert all(len(batch) for batch in batches)


def test_evaluation_of_bad_images_stops() -> None:
    with pytest.raises(DataError, match=r"^4.jpg: is damaged$"):
        list(EvalLoader(dataset=Numbers(bad=[4]), batch_size=2))
    with pytest.raises(DataError, match=r"none of its 10 images can be read; the first one: 0.jpg: is damaged"):
        list(EvalLoader(dataset=Numbers(bad=range(10)), batch_size=3, on_bad_image="skip"))


def test_batch_moves_to_device_but_for_what_is_stored() -> None:
    batch = next(iter(EvalLoader(dataset=Numbers(), batch_size=3))).to("meta")
    assert batch.images.pixels.is_meta
    assert batch.targets is not None
    assert batch.targets[2].boxes.is_meta
    assert not batch.samples[2].image.is_meta


def test_dataset_on_its_way_to_processes_that_start_again_leaves_its_arrays_where_all_see_them() -> None:
    texts = PackedTexts(f"{number:06}.jpg" for number in range(60_000))
    shared = _Shared(texts)  # type: ignore[arg-type]
    light = pickle.dumps(shared._rest)
    assert len(light) < 1000
    first, second = shared.dataset(), shared.dataset()
    assert [each[59_999] for each in (first, second)] == ["059999.jpg"] * 2  # type: ignore[index]
    shared._buffers[0][:6] = ord("9")
    assert [each[0] for each in (first, second)] == ["999999.jpg"] * 2  # type: ignore[index]
    assert texts[0] == "000000.jpg"


@pytest.mark.slow
def test_workers_that_start_again_give_the_same_batches(tmp_path: Path) -> None:
    images, file = write(tmp_path, content(5))
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "from det_core.data import CocoDataset, EvalLoader\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('spawn')\n"
        "    dataset = CocoDataset(sys.argv[1], sys.argv[2])\n"
        "    for batch in EvalLoader(dataset=dataset, batch_size=2, workers=1):\n"
        "        print(batch.ids, [len(targets) for targets in batch.targets])\n"
    )
    command = [sys.executable, str(script), str(images), str(file)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=500).stdout
    assert told == "(11, 12) [0, 1]\n(13, 14) [1, 2]\n(15,) [3]\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transform", "guard", "words"),
    [
        ("lambda sample: sample", "if __name__ == '__main__':", "cannot be sent to other processes"),
        ("same", "if True:", "a loader process died.*if __name__ == '__main__':"),
    ],
)
def test_workers_that_start_anew_explain_lambda_and_missing_guard(
    transform: str, guard: str, words: str, tmp_path: Path
) -> None:
    images, file = write(tmp_path, content(5))
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "from det_core.data import CocoDataset, EvalLoader\n"
        "def same(sample): return sample\n"
        f"{guard}\n"
        "    multiprocessing.set_start_method('spawn', force=True)\n"
        "    dataset = CocoDataset(sys.argv[1], sys.argv[2])\n"
        f"    list(EvalLoader(dataset=dataset, batch_size=2, workers=1, transforms=[{transform}]))\n"
    )
    command = [sys.executable, str(script), str(images), str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=500)
    assert done.returncode == 1
    assert re.search(f"ConfigError: data.workers: the dataset.*{words}|{words}", done.stderr.replace("\n", " "))
