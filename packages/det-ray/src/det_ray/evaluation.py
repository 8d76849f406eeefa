"""The worker of `det ray eval`: it predicts a part of a dataset, and commits the states of its evaluators.

Batches hold the same images as those of `det eval`, and the states are merged as those of its processes are, so that
the metrics are the same to the last bit.
"""

import os
import pickle
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from det_core.contracts import Evaluator
from det_core.errors import DataError

from det_ray.folder import RunFolder
from det_ray.plan import Block
from det_ray.sources import Entry
from det_ray.worker import Worker

if TYPE_CHECKING:
    from det_core.data import Batch
    from det_core.predict import Detector

__all__ = ["EvalWorker", "load_evaluated", "merged"]

_NUMPY = {(f"numpy{core}.multiarray", name) for core in (".core", "._core") for name in ("_reconstruct", "scalar")} | {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy._core.numeric", "_frombuffer"),
}


def load_evaluated(options: Mapping[str, Any]) -> "tuple[Detector, Any, str]":
    """The detector, the data of its recipe and the split that the options describe; errors as of `det eval`."""
    from det_core.cli.eval import load_with_data
    from det_core.engine import check_classes

    detector, data = load_with_data(*(options[name] for name in ("model", "weights", "device", "overrides", "trust")))
    split = options["split"] or ("val" if data.test is None else "test")
    check_classes(detector.model, data.dataset(split))
    return detector, data, split


class _Updates:
    """Several evaluators as one, without results."""

    def __init__(self, evaluators: Sequence[Evaluator]) -> None:
        self._evaluators = evaluators

    def update(self, prediction: Any, sample: Any) -> None:
        for evaluator in self._evaluators:
            evaluator.update(prediction, sample)

    def state(self) -> None:
        return None

    def merge(self, states: Sequence[Any]) -> None:
        return None

    def result(self) -> dict[str, float]:
        return {}


class EvalWorker(Worker):
    """Predicts parts of a dataset.

    Args:
        folder: of the run.
        options: model, weights, device, overrides, trust, split, sha256 (of the model), batch, threads, and here (the
            folder that paths in the recipe start from).
    """

    def load(self) -> None:
        """Load the model and the dataset, which have to be those of the plan."""
        import torch

        torch.set_num_threads(self.options["threads"])
        if Path(self.options["here"]).is_dir():
            os.chdir(self.options["here"])
        self._detector, self._data, self._split = load_evaluated(self.options)
        self.require_same(self._detector)

    def process(self, block: Block, entries: Sequence[Entry]) -> dict[str, Any]:
        """Evaluate the images of a block, and commit the states."""
        from det_core.engine import evaluate

        began = time.time()
        evaluators = self._data.build_evaluators(self._split)
        skipped: list[str] = []
        positions = [entry.first + row for entry in entries for row in range(entry.length)]
        batches = self._batches(positions, skipped)
        result = evaluate(self._detector.model, batches, [_Updates(evaluators)], alone=True)
        states = [pickle.dumps(evaluator.state(), protocol=5) for evaluator in evaluators]
        notes = [*(f"left out: {reason}" for reason in skipped), *result.notes]
        summary = {**self.stamp(block, began), "images": len(positions), "notes": notes}
        self.folder.write_block(block.number, pa.table({"state": pa.array(states, pa.large_binary())}), summary)
        return summary

    def _batches(self, positions: Sequence[int], skipped: list[str]) -> "Iterator[Batch]":
        """The batches of `det eval` with these images; why images are missing is added to `skipped`."""
        from det_core.data import compose
        from det_core.data.loading.workers import Prepare, Work

        dataset = self._data.dataset(self._split)
        prepare = Prepare(
            dataset=dataset,
            transform=compose(self._data.eval_transforms, getattr(dataset, "flip_pairs", ())),
            seed=0,
            order=lambda position, attempt: position + attempt,
            leave_out=self._data.on_bad_image == "skip",
            keep_stored=True,
        )
        for start in range(0, len(positions), self.options["batch"]):
            some = positions[start : start + self.options["batch"]]
            batch = prepare(Work(some, some[-1] + 1))
            if len(batch):
                yield batch
            else:
                skipped += batch.skipped


class _States(pickle.Unpickler):
    """Reads states: arrays, containers, and the records that the modules of the evaluators define; no other code."""

    def __init__(self, content: bytes, modules: set[str]) -> None:
        super().__init__(BytesIO(content))
        self._modules = modules

    def find_class(self, module: str, name: str) -> Any:
        value = super().find_class(module, name) if (module, name) in _NUMPY or module in self._modules else None
        is_record = isinstance(value, type) and (is_dataclass(value) or hasattr(value, "_fields"))
        if (module, name) in _NUMPY or (is_record and value.__module__ == module):
            return value
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def merged(folder: RunFolder, numbers: Sequence[int], evaluators: Sequence[Evaluator]) -> None:
    """Merge the states of all blocks into the evaluators.

    Raises:
        DataError: a file is damaged, or holds what no state of these evaluators does.
    """
    modules = {part.__module__ for each in evaluators for part in _parts(each)}
    states: list[list[Any]] = [[] for _ in evaluators]
    for number in numbers:
        path = folder.block(number)
        try:
            column = pq.read_table(path).column("state").to_pylist()
            for place, content in zip(states, column, strict=True):
                place.append(_States(content, modules).load())
        except (pa.ArrowException, OSError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
            fix = "remove this file, and give the command again"
            raise DataError(str(path), "does not hold the states of evaluators", str(error), fix) from error
    for evaluator, parts in zip(evaluators, states, strict=True):
        evaluator.merge(parts)


def _parts(evaluator: Any) -> Iterator[type]:
    """The classes of an evaluator and of the evaluators that it is made of."""
    yield from (each for each in type(evaluator).__mro__ if each is not object)
    for value in vars(evaluator).values():
        if isinstance(value, Evaluator):
            yield from _parts(value)
