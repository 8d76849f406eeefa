"""Running a model over a data set, as `detectron2.evaluation.evaluator`."""

import datetime
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from det_detectron2.layer.utils import comm
from det_detectron2.layer.utils.logger import log_every_n_seconds

__all__ = ["DatasetEvaluator", "DatasetEvaluators", "inference_context", "inference_on_dataset"]


class DatasetEvaluator:
    """Takes pairs of inputs and outputs, and gives results at the end."""

    def reset(self) -> None:
        """Begin a new round."""

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Take a batch of inputs and what a model made of them."""

    def evaluate(self) -> Any:
        """The results, such as {"bbox": {"AP": 40.2}}; None outside of rank 0."""


class DatasetEvaluators(DatasetEvaluator):
    """Several evaluators as one, whose results are joined.

    Args:
        evaluators: evaluators of different tasks.
    """

    def __init__(self, evaluators: Sequence[DatasetEvaluator]) -> None:
        super().__init__()
        self._evaluators = evaluators

    def reset(self) -> None:
        """Begin a new round."""
        for each in self._evaluators:
            each.reset()

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Give a batch to all."""
        for each in self._evaluators:
            each.process(inputs, outputs)

    def evaluate(self) -> Any:
        """The results of all."""
        results: OrderedDict[str, Any] = OrderedDict()
        for each in self._evaluators:
            output = each.evaluate()
            if comm.is_main_process() and output is not None:
                for name, value in output.items():
                    assert name not in results, f"Different evaluators produce results with the same key {name}"
                    results[name] = value
        return results


def inference_on_dataset(
    model: Callable[[Any], Any],
    data_loader: Iterable[Any],
    evaluator: DatasetEvaluator | Sequence[DatasetEvaluator] | None,
    callbacks: dict[str, Callable[[], None]] | None = None,
) -> Any:
    """Predict for all of a loader in evaluation mode; what `evaluator.evaluate()` gives, {} for None.

    Args:
        model: module, or any function of a batch.
        data_loader: loader of input batches, with a length.
        evaluator: evaluator, or a list of them; None only measures the time.
        callbacks: functions by event: "on_start", "on_end", "before_inference" and "after_inference".
    """
    logger = logging.getLogger(__name__)
    total = len(data_loader)  # type: ignore[arg-type]
    logger.info("Start inference on %d batches", total)
    metrics = evaluator if isinstance(evaluator, DatasetEvaluator) else DatasetEvaluators(evaluator or [])
    metrics.reset()
    call = callbacks or {}
    times = {"data": 0.0, "compute": 0.0, "eval": 0.0}
    warmup = min(5, total - 1)
    with ExitStack() as stack:
        if isinstance(model, nn.Module):
            stack.enter_context(inference_context(model))
        stack.enter_context(torch.no_grad())
        call.get("on_start", _nothing)()
        begin = start = time.perf_counter()
        for place, inputs in enumerate(data_loader):
            times["data"] += time.perf_counter() - start
            if place == warmup:
                begin, times = time.perf_counter(), dict.fromkeys(times, 0.0)
            start = time.perf_counter()
            call.get("before_inference", _nothing)()
            outputs = model(inputs)
            call.get("after_inference", _nothing)()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times["compute"] += time.perf_counter() - start
            start = time.perf_counter()
            metrics.process(inputs, outputs)
            times["eval"] += time.perf_counter() - start
            _progress(place, total, warmup, begin, times)
            start = time.perf_counter()
        call.get("on_end", _nothing)()
    logger.info("Total inference time: %s", datetime.timedelta(seconds=int(time.perf_counter() - begin)))
    results = metrics.evaluate()
    return {} if results is None else results


def _nothing() -> None:
    """The default of callbacks."""


def _progress(place: int, total: int, warmup: int, begin: float, times: dict[str, float]) -> None:
    done = place + 1 - warmup * int(place >= warmup)
    each = (time.perf_counter() - begin) / done
    if place >= warmup * 2 or times["compute"] / done > 5:
        left = datetime.timedelta(seconds=int(each * (total - place - 1)))
        durations = ", ".join(f"{name} {value / done:.4f} s/iter" for name, value in times.items())
        log_every_n_seconds(
            logging.INFO, f"Inference done {place + 1}/{total}. {durations}. ETA={left}", n=5, name=__name__
        )


@contextmanager
def inference_context(model: nn.Module) -> Iterator[None]:
    """Within, the model is in evaluation mode; afterwards in the mode that it was in."""
    training = model.training
    model.eval()
    yield
    model.train(training)
