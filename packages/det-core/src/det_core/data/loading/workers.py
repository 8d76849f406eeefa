"""Prepares batches, in this process or in workers; errors name the image at fault."""

import gc
import multiprocessing
import os
import pickle
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from det_core.contracts import Dataset, Transform
from det_core.data.loading.batch import Batch, collate
from det_core.errors import ConfigError, DataError, DetError
from det_core.structures import Proposals, Sample, Targets

__all__ = ["Prepare", "Work", "in_order"]


@dataclass(frozen=True)
class Work:
    """One batch to prepare: its positions in the stream, and the position after it."""

    positions: Sequence[int]
    following: int


@dataclass(kw_only=True)
class Prepare:
    """Makes the batch of a piece of work; its result depends on the work alone.

    Args:
        dataset: dataset from which the images are read.
        transform: applied to each; random numbers, the dataset's as well, are seeded by `seed` and the position.
        order: function from a position, and how many images to move on from there, to an index of the dataset.
        attempts: maximum number of images to try for one position; unreadable ones are listed in `Batch.skipped`.
        leave_out: whether a position of which no attempt succeeds is left out; otherwise its DataError is raised.
        keep_stored: whether to hand over the samples as stored, too.
    """

    dataset: Dataset
    transform: Transform
    seed: int
    order: Callable[[int, int], int]
    attempts: int = 1
    leave_out: bool = False
    keep_stored: bool = False
    # Which image each worker holds: (process id, index), in memory that all share.
    image_of_worker: Tensor = field(default_factory=lambda: torch.full((1, 2), -1))

    def __call__(self, work: Work) -> Batch:
        """Read, transform and collate the images of one batch."""
        stored: list[Sample] = []
        transformed: list[Sample] = []
        skipped: list[str] = []
        positions: list[int] = []
        for position in work.positions:
            # A dataset may draw, too: one that puts several images together does.
            with _seeded(self.seed, position):
                sample = self._read(position, skipped)
                if sample is None:
                    continue
                transformed.append(self._transformed(sample))
                positions.append(position)
            if self.keep_stored:
                stored.append(sample)
        return collate(transformed, work.following, stored, skipped, positions)

    def _read(self, position: int, skipped: list[str]) -> Sample | None:
        """The first readable image for a position; adds why others were not to `skipped`."""
        for attempt in range(self.attempts):
            index = self.order(position, attempt)
            worker = get_worker_info()
            self.image_of_worker[worker.id if worker else 0] = torch.tensor([os.getpid(), index])
            try:
                return self.dataset[index]
            except DataError as error:
                if self.attempts == 1 and not self.leave_out:
                    raise
                skipped.append(str(error))
            except Exception as error:
                raise _data_error(error, describe(self.dataset, index), "reading this image failed") from error
        if self.leave_out:
            return None
        problem = f"none of its {self.attempts} images can be read"
        raise DataError(describe(self.dataset), problem, f"the last one: {skipped[-1]}")

    def _transformed(self, sample: Sample) -> Sample:
        try:
            return self.transform(sample)
        except Exception as error:
            where = str(sample.path or f"image {sample.id}")
            raise _data_error(error, where, "transforming this image failed") from error


def in_order(prepare: Prepare, work: Iterable[Work], workers: int) -> Iterator[Batch]:
    """The batches of `work` in its order, prepared ahead by `workers` processes, or by this one if there are none."""
    if workers == 0:
        yield from map(prepare, work)
        return
    image_of_worker = torch.full((workers, 2), -1).share_memory_()
    dataset: Any = prepare.dataset
    if multiprocessing.get_start_method() != "fork":
        # A spawned process would get a copy; a forked one shares the memory of this one.
        with _sending():
            dataset = _Shared(dataset)
    # A generator of its own: DataLoader would draw from the global one, and training would depend on it.
    loader: DataLoader[Any] = DataLoader(
        _InWorker(replace(prepare, dataset=dataset, image_of_worker=image_of_worker)),
        batch_size=None,
        sampler=work,
        num_workers=workers,
        collate_fn=_as_it_is,
        generator=torch.Generator(),
    )
    results = _without_alarm(loader)
    try:
        while True:
            try:
                result = next(results, None)
            except (RuntimeError, OSError, EOFError) as error:  # it may die while it hands over a batch
                raise _died(prepare.dataset, image_of_worker, error) from error.with_traceback(None)
            if result is None:
                return
            if isinstance(result, _Failure):
                raise result.error
            yield _with_tensors(result, torch.from_numpy, np.ndarray)
    finally:
        # An error's traceback holds this frame; the workers end now, not when the error is released.
        del results


def describe(dataset: Dataset, index: int | None = None) -> str:
    """Name of a dataset, or of one of its images, in a message."""
    if index is None:
        return str(getattr(dataset, "annotations", type(dataset).__name__))
    path = getattr(dataset, "path", None)
    return str(path(index)) if callable(path) else f"image number {index} of {describe(dataset)}"


@dataclass(frozen=True)
class _Failure:
    """Carries an error out of a worker; DataLoader itself would raise another error."""

    error: DetError


class _InWorker(torch.utils.data.Dataset[Any]):
    """`Prepare` as DataLoader wants it: its results are light to send, and its errors are results."""

    def __init__(self, prepare: Prepare) -> None:
        self.prepare = prepare

    def __getitem__(self, work: Work) -> Batch | _Failure:
        if isinstance(self.prepare.dataset, _Shared):
            self.prepare = replace(self.prepare, dataset=self.prepare.dataset.dataset())
        try:
            batch = self.prepare(work)
        except DetError as error:
            return _Failure(error)
        # Every tensor that is sent takes a file descriptor and a segment of shared memory, every array a few bytes.
        return _with_tensors(batch, _array, Tensor)


class _Shared:
    """A dataset on its way to other processes: its arrays lie in memory that all of them read."""

    def __init__(self, dataset: Dataset) -> None:
        self._buffers: list[Tensor] = []
        self._rest = pickle.dumps(dataset, protocol=5, buffer_callback=self._keep)

    def _keep(self, buffer: pickle.PickleBuffer) -> bool:
        """Take a large buffer out of the pickle; true leaves it in."""
        raw = buffer.raw()
        if raw.nbytes < _LIGHT:
            return True
        shared = torch.empty(raw.nbytes, dtype=torch.uint8).share_memory_()
        shared.numpy()[:] = np.frombuffer(raw, np.uint8)
        self._buffers.append(shared)
        return False

    def dataset(self) -> Dataset:
        """The dataset, with arrays that lie where all see them."""
        dataset: Dataset = pickle.loads(self._rest, buffers=[buffer.numpy() for buffer in self._buffers])
        return dataset


def _as_it_is(result: Any) -> Any:
    return result


_LIGHT = 1 << 18


def _array(tensor: Tensor) -> Any:
    light = tensor.numel() * tensor.element_size() <= _LIGHT and tensor.dtype != torch.bfloat16
    return tensor.as_subclass(Tensor).numpy() if light else tensor


def _with_tensors(batch: Batch, function: Callable[[Any], Any], kind: type) -> Batch:
    """The batch with `function` applied to everything of a kind in its targets and proposals."""

    def of(value: Any) -> Any:
        if isinstance(value, kind):
            return function(value)
        if isinstance(value, Targets | Proposals):
            return replace(value, **{f.name: of(getattr(value, f.name)) for f in fields(value)})
        if isinstance(value, Sample):
            return replace(value, targets=of(value.targets), proposals=of(value.proposals))
        if isinstance(value, tuple):
            return tuple(map(of, value))
        return {key: of(item) for key, item in value.items()} if isinstance(value, dict) else value

    images = replace(batch.images, proposals=of(batch.images.proposals))
    return replace(batch, images=images, targets=of(batch.targets), samples=of(batch.samples))


def _without_alarm(loader: DataLoader[Any]) -> Iterator[Any]:
    """Start the workers; the death of one is reported where its batch is awaited.

    DataLoader's own signal handler would raise wherever the main program happens to be.
    """
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        return _started(loader)
    before = signal.getsignal(signal.SIGCHLD) or signal.SIG_DFL
    try:
        return _started(loader)
    finally:
        signal.signal(signal.SIGCHLD, before)


def _started(loader: DataLoader[Any]) -> Iterator[Any]:
    """Start the workers such that they share this process's objects for as long as possible.

    A collection writes to every object that it visits, upon which a forked process gets a copy of the page.
    """
    gc.collect()
    gc.freeze()
    try:
        with _sending():
            return iter(loader)
    finally:
        gc.unfreeze()


@contextmanager
def _sending() -> Iterator[None]:
    """Errors of objects that spawned processes cannot get."""
    try:
        yield
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        problem = "the dataset or a transform cannot be sent to other processes"
        fix = "define it at the top of a module, not as a lambda or within a function, or set data.workers=0"
        raise ConfigError("data.workers", problem, str(error), fix) from error


def _data_error(error: Exception, where: str, problem: str) -> DataError:
    """An unexpected error with the image it belongs to; its traceback is a note, which other processes can read."""
    data_error = DataError(where, problem, f"{type(error).__name__}: {error}")
    data_error.add_note("".join(traceback.format_exception(error)))
    return data_error


def _died(dataset: Dataset, image_of_worker: Tensor, error: Exception) -> DataError:
    deadline = time.monotonic() + 5
    # A process closes its shared memory a moment before it has ended: the error may arrive first.
    while not (dead := _dead(image_of_worker)) and time.monotonic() < deadline:
        time.sleep(0.01)
    images = ", ".join(describe(dataset, index) for index in dead) or describe(dataset)
    problem = "a loader process died while it held this image" if dead else "a loader process died"
    fix = "it may have run out of memory: use fewer workers, or 0 to see the error itself"
    if not dead and multiprocessing.get_start_method() != "fork":
        fix = "put what the script does under `if __name__ == '__main__':`, or set data.workers=0"
    return DataError(images, problem, (str(error) or type(error).__name__).splitlines()[0], fix)


def _dead(image_of_worker: Tensor) -> list[int]:
    """The images held by workers that have ended."""
    alive = {child.pid for child in multiprocessing.active_children()}
    return [index for process, index in image_of_worker.tolist() if process >= 0 and process not in alive]


@contextmanager
def _seeded(*key: int) -> Iterator[None]:
    """Random numbers from here on are a function of `key`; after it, they go on as if nothing had happened."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    # The 1 keeps these numbers apart from those that shuffle, which [seed, epoch] makes.
    for_python, for_numpy, for_torch = np.random.SeedSequence((*key, 1)).generate_state(3).tolist()
    random.seed(for_python)
    np.random.seed(for_numpy)
    # Not torch.manual_seed, which would reseed the accelerators as well.
    torch.default_generator.manual_seed(for_torch)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
