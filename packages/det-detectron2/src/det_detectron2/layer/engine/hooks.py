"""The usual hooks of a training, as `detectron2.engine.hooks`."""

import datetime
import itertools
import logging
import math
import operator
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from fvcore.common.checkpoint import Checkpointer
from fvcore.common.checkpoint import PeriodicCheckpointer as _PeriodicCheckpointer
from fvcore.common.timer import Timer
from torch import nn

from det_detectron2.layer.engine.profiling import AutogradProfiler, TorchMemoryStats, TorchProfiler
from det_detectron2.layer.engine.train_loop import HookBase
from det_detectron2.layer.solver import LRMultiplier
from det_detectron2.layer.utils import comm
from det_detectron2.layer.utils.events import EventStorage, EventWriter

__all__ = [
    "AutogradProfiler",
    "BestCheckpointer",
    "CallbackHook",
    "EvalHook",
    "IterationTimer",
    "LRScheduler",
    "PeriodicCheckpointer",
    "PeriodicWriter",
    "PreciseBN",
    "TorchMemoryStats",
    "TorchProfiler",
]


class CallbackHook(HookBase):
    """Calls functions with the trainer."""

    def __init__(
        self,
        *,
        before_train: Callable[[Any], None] | None = None,
        after_train: Callable[[Any], None] | None = None,
        before_step: Callable[[Any], None] | None = None,
        after_step: Callable[[Any], None] | None = None,
    ) -> None:
        self._before_train, self._after_train = before_train, after_train
        self._before_step, self._after_step = before_step, after_step

    def before_train(self) -> None:
        """Call its function."""
        if self._before_train:
            self._before_train(self.trainer)

    def after_train(self) -> None:
        """Call its function; the functions are forgotten, as they may hold the trainer."""
        if self._after_train:
            self._after_train(self.trainer)
        self._before_train = self._after_train = self._before_step = self._after_step = None

    def before_step(self) -> None:
        """Call its function."""
        if self._before_step:
            self._before_step(self.trainer)

    def after_step(self) -> None:
        """Call its function."""
        if self._after_step:
            self._after_step(self.trainer)


class IterationTimer(HookBase):
    """Records the time of each iteration as "time", and logs the total at the end.

    Args:
        warmup_iter: number of initial iterations that are not timed.
    """

    def __init__(self, warmup_iter: int = 3) -> None:
        self._warmup_iter = warmup_iter
        self._step_timer, self._total_timer = Timer(), Timer()
        self._start_time = time.perf_counter()

    def before_train(self) -> None:
        """Begin."""
        self._start_time = time.perf_counter()
        self._total_timer.reset()
        self._total_timer.pause()

    def after_train(self) -> None:
        """Log the times."""
        logger = logging.getLogger(__name__)
        total, hooks_time = time.perf_counter() - self._start_time, 0.0
        training = self._total_timer.seconds()
        hooks_time = total - training
        count = self.trainer.storage.iter + 1 - self.trainer.start_iter - self._warmup_iter
        if count > 0 and training > 0:
            spent = datetime.timedelta(seconds=int(training))
            logger.info("Overall training speed: %d iterations in %s (%.4f s / it)", count, spent, training / count)
        spent, hooks = (datetime.timedelta(seconds=int(each)) for each in (total, hooks_time))
        logger.info("Total training time: %s (%s on hooks)", spent, hooks)

    def before_step(self) -> None:
        """Begin."""
        self._step_timer.reset()
        self._total_timer.resume()

    def after_step(self) -> None:
        """Keep the time."""
        done = self.trainer.storage.iter - self.trainer.start_iter + 1
        if done >= self._warmup_iter:
            self.trainer.storage.put_scalars(time=self._step_timer.seconds())
        else:
            self._start_time = time.perf_counter()
            self._total_timer.reset()
        self._total_timer.pause()


class PeriodicWriter(HookBase):
    """Calls writers periodically.

    Args:
        writers: writers of `detectron2.utils.events`.
        period: number of iterations between two calls.
    """

    def __init__(self, writers: Sequence[EventWriter], period: int = 20) -> None:
        for writer in writers:
            assert isinstance(writer, EventWriter), writer
        self._writers, self._period = writers, period

    def after_step(self) -> None:
        """Write, if it is time, or this is the last iteration."""
        last = self.trainer.iter == self.trainer.max_iter - 1
        if (self.trainer.iter + 1) % self._period == 0 or last:
            for writer in self._writers:
                writer.write()

    def after_train(self) -> None:
        """Write what other hooks put after the last iteration, and close."""
        for writer in self._writers:
            writer.write()
            writer.close()


class PeriodicCheckpointer(_PeriodicCheckpointer, HookBase):  # type: ignore[misc,unused-ignore]
    """fvcore's, as a hook: checkpoints each `period` iterations, and "model_final"."""

    def before_train(self) -> None:
        """Begin."""
        self.max_iter = self.trainer.max_iter

    def after_step(self) -> None:
        """Save, if it is time."""
        self.step(self.trainer.iter)


class BestCheckpointer(HookBase):
    """Saves "model_best" when a metric improves.

    Args:
        eval_period: number of iterations between evaluations, as in the preceding `EvalHook`.
        checkpointer: `DetectionCheckpointer` that saves the model.
        val_metric: name of the scalar to compare, such as "bbox/AP50".
        mode: "max" if larger values are better, "min" if smaller ones are.
        file_prefix: file name of the checkpoint without suffix.
    """

    def __init__(
        self,
        eval_period: int,
        checkpointer: Checkpointer,
        val_metric: str,
        mode: str = "max",
        file_prefix: str = "model_best",
    ) -> None:
        assert mode in ("max", "min"), f'Mode "{mode}" to `BestCheckpointer` is unknown. It should be max or min.'
        self._period, self._val_metric, self._checkpointer = eval_period, val_metric, checkpointer
        self._compare = operator.gt if mode == "max" else operator.lt
        self._file_prefix = file_prefix
        self.best_metric: float | None = None
        self.best_iter: int | None = None

    def _best_checking(self) -> None:
        logger = logging.getLogger(__name__)
        output = self.trainer.storage.latest().get(self._val_metric)
        if output is None:
            logger.warning("There is no metric %s to choose the best checkpoint by", self._val_metric)
            return
        value, place = output
        if math.isnan(value) or math.isinf(value):
            return
        if self.best_metric is None or self._compare(value, self.best_metric):
            self._checkpointer.save(self._file_prefix, iteration=place)
            before = "" if self.best_metric is None else f", before {self.best_metric:.5f}"
            logger.info("Saved the best model at iteration %d: %s %.5f%s", place, self._val_metric, value, before)
            self.best_metric, self.best_iter = value, place

    def after_step(self) -> None:
        """Compare, if there was an evaluation."""
        following = self.trainer.iter + 1
        if self._period > 0 and following % self._period == 0 and following != self.trainer.max_iter:
            self._best_checking()

    def after_train(self) -> None:
        """Compare the last evaluation."""
        if self.trainer.iter + 1 >= self.trainer.max_iter:
            self._best_checking()


class LRScheduler(HookBase):
    """Steps a scheduler after each iteration, and keeps the rate as "lr".

    Args:
        optimizer: optimizer whose rate is logged; None for the trainer's.
        scheduler: torch or fvcore scheduler; None for the trainer's.
    """

    def __init__(self, optimizer: Any = None, scheduler: Any = None) -> None:
        self._optimizer, self._scheduler = optimizer, scheduler

    def before_train(self) -> None:
        """Take the trainer's parts."""
        self._optimizer = self._optimizer or self.trainer.optimizer  # type: ignore[attr-defined]
        self._scheduler = self.scheduler
        if not isinstance(self._scheduler, torch.optim.lr_scheduler.LRScheduler):
            self._scheduler = LRMultiplier(
                self._optimizer, self._scheduler, self.trainer.max_iter, last_iter=self.trainer.iter - 1
            )
        self._best_param_group_id = LRScheduler.get_best_param_group_id(self._optimizer)

    @staticmethod
    def get_best_param_group_id(optimizer: torch.optim.Optimizer) -> int:
        """The group whose rate is shown: the largest, or the most frequent rate."""
        largest = max(len(group["params"]) for group in optimizer.param_groups)
        if largest == 1:
            rates = Counter(group["lr"] for group in optimizer.param_groups)
            rate = rates.most_common()[0][0]
            return next(i for i, group in enumerate(optimizer.param_groups) if group["lr"] == rate)
        return next(i for i, group in enumerate(optimizer.param_groups) if len(group["params"]) == largest)

    def after_step(self) -> None:
        """Step."""
        rate = self._optimizer.param_groups[self._best_param_group_id]["lr"]
        self.trainer.storage.put_scalar("lr", rate, smoothing_hint=False)
        self.scheduler.step()

    @property
    def scheduler(self) -> Any:
        """What is stepped."""
        return self._scheduler or self.trainer.scheduler  # type: ignore[attr-defined]

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's state."""
        if isinstance(self.scheduler, torch.optim.lr_scheduler.LRScheduler):
            return dict(self.scheduler.state_dict())
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take the scheduler's state."""
        if isinstance(self.scheduler, torch.optim.lr_scheduler.LRScheduler):
            logging.getLogger(__name__).info("Loading scheduler from state_dict ...")
            self.scheduler.load_state_dict(dict(state_dict))


class EvalHook(HookBase):
    """Evaluates, and logs the results as scalars.

    Args:
        eval_period: number of iterations between evaluations; 0 evaluates after the last iteration only.
        eval_function: function without arguments that returns a nested mapping of numbers.
        eval_after_train: whether to evaluate after the last iteration too.
    """

    def __init__(self, eval_period: int, eval_function: Callable[[], Any], eval_after_train: bool = True) -> None:
        self._period, self._func, self._eval_after_train = eval_period, eval_function, eval_after_train

    def _do_eval(self) -> None:
        results = self._func()
        if results:
            assert isinstance(results, Mapping), f"Eval function must return a dict. Got {results} instead."
            flat = flatten_results_dict(results)
            for name, value in flat.items():
                try:
                    flat[name] = float(value)
                except Exception as error:
                    raise ValueError(f"[EvalHook] eval_function has to return numbers; {name} is {value!r}") from error
            self.trainer.storage.put_scalars(**flat, smoothing_hint=False)
        # Processes that wait for each other longer than their timeout would fail.
        comm.synchronize()

    def after_step(self) -> None:
        """Evaluate, if it is time; the last is left to `after_train`."""
        following = self.trainer.iter + 1
        if self._period > 0 and following % self._period == 0 and following != self.trainer.max_iter:
            self._do_eval()

    def after_train(self) -> None:
        """Evaluate, unless the training failed."""
        if self._eval_after_train and self.trainer.iter + 1 >= self.trainer.max_iter:
            self._do_eval()
        del self._func


def flatten_results_dict(results: Mapping[str, Any]) -> dict[str, Any]:
    """A tree as one mapping, with names joined by slashes."""
    flat: dict[str, Any] = {}
    for name, value in results.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}/{below}": each for below, each in flatten_results_dict(value).items()}
        else:
            flat[name] = value
    return flat


class PreciseBN(HookBase):
    """Computes the statistics of batch norms from several batches, before evaluations.

    Args:
        period: number of iterations between two updates; 0 updates after the last iteration only.
        model: model whose batch norms in training mode are updated.
        data_loader: iterable of batches.
        num_iter: number of batches for the statistics.
    """

    def __init__(self, period: int, model: nn.Module, data_loader: Any, num_iter: int) -> None:
        from fvcore.nn.precise_bn import get_bn_modules

        self._logger = logging.getLogger(__name__)
        self._disabled = len(get_bn_modules(model)) == 0
        if self._disabled:
            self._logger.info("PreciseBN is disabled because model does not contain BN layers in training mode.")
        self._model, self._data_loader = model, data_loader
        self._num_iter, self._period = num_iter, period
        self._data_iter: Any = None

    def after_step(self) -> None:
        """Compute, if it is time."""
        following = self.trainer.iter + 1
        if following == self.trainer.max_iter or (self._period > 0 and following % self._period == 0):
            self.update_stats()

    def update_stats(self) -> None:
        """Compute them now."""
        if self._disabled:
            return
        from fvcore.nn.precise_bn import update_bn_stats

        if self._data_iter is None:
            self._data_iter = iter(self._data_loader)

        def batches() -> Any:
            for count in itertools.count(1):
                if count % 100 == 0:
                    self._logger.info("Running precise-BN ... %d/%d iterations.", count, self._num_iter)
                yield next(self._data_iter)

        with EventStorage():
            update_bn_stats(self._model, batches(), self._num_iter)
