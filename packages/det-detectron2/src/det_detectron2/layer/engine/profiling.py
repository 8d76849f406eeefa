"""Memory and time of a training in detail, as in `detectron2.engine.hooks`."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from det_detectron2.layer.engine.train_loop import HookBase

__all__ = ["AutogradProfiler", "TorchMemoryStats", "TorchProfiler"]


class TorchMemoryStats(HookBase):
    """Logs the memory of the GPU.

    Args:
        period: number of iterations between two calls.
        max_runs: maximum number of log lines.
    """

    def __init__(self, period: int = 20, max_runs: int = 10) -> None:
        self._period, self._max_runs, self._runs = period, max_runs, 0

    def after_step(self) -> None:
        """Log, if it is time and there is a GPU."""
        due = (self.trainer.iter + 1) % self._period == 0 or self.trainer.iter == self.trainer.max_iter - 1
        if due and self._runs < self._max_runs and torch.cuda.is_available():
            used = {name: getattr(torch.cuda, name)() / 2**20 for name in ("memory_allocated", "memory_reserved")}
            most = {name: getattr(torch.cuda, f"max_{name}")() / 2**20 for name in used}
            logging.getLogger(__name__).info("iter: %d  MiB now %s, most %s", self.trainer.iter, used, most)
            torch.cuda.reset_peak_memory_stats()
            self._runs += 1


class TorchProfiler(HookBase):
    """Profiles iterations with torch's profiler.

    Args:
        enable_predicate: function of the trainer that returns whether to profile the iteration.
        output_dir: output folder of traces for TensorBoard or Chrome.
        activities: profiled activities (`torch.profiler.ProfilerActivity`).
        save_tensorboard: whether to write traces.
    """

    def __init__(
        self,
        enable_predicate: Callable[[Any], bool],
        output_dir: str,
        *,
        activities: Any = None,
        save_tensorboard: bool = True,
    ) -> None:
        self._enable_predicate, self._output_dir = enable_predicate, output_dir
        self._activities, self._save = activities, save_tensorboard
        self._profiler: Any = None

    def before_step(self) -> None:
        """Begin, if this is one of them."""
        if self._enable_predicate(self.trainer):
            self._profiler = torch.profiler.profile(activities=self._activities)
            self._profiler.__enter__()

    def after_step(self) -> None:
        """Write the trace."""
        if self._profiler is None:
            return
        self._profiler.__exit__(None, None, None)
        if self._save:
            Path(self._output_dir).mkdir(parents=True, exist_ok=True)
            self._profiler.export_chrome_trace(str(Path(self._output_dir) / f"profiler-trace-{self.trainer.iter}.json"))
        self._profiler = None


class AutogradProfiler(TorchProfiler):
    """`TorchProfiler` by its earlier name."""

    def __init__(self, enable_predicate: Callable[[Any], bool], output_dir: str, *, use_cuda: bool = True) -> None:
        super().__init__(enable_predicate, output_dir)
