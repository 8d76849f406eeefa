"""Scalars, pictures and histograms of a training, and what writes them, as `detectron2.utils.events`."""

import datetime
import json
import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.history_buffer import HistoryBuffer

__all__ = [
    "CommonMetricPrinter",
    "EventStorage",
    "EventWriter",
    "JSONWriter",
    "TensorboardXWriter",
    "get_event_storage",
    "has_event_storage",
]

_STACK: list["EventStorage"] = []


def get_event_storage() -> "EventStorage":
    """The storage of the innermost `with EventStorage(...)`."""
    assert _STACK, "get_event_storage() has to be called inside a 'with EventStorage(...)' context!"
    return _STACK[-1]


def has_event_storage() -> bool:
    """Whether there is one."""
    return bool(_STACK)


class EventStorage:
    """Scalars by name over the iterations of a training; also `with EventStorage(start) as storage`.

    Args:
        start_iter: index of the first iteration.
    """

    def __init__(self, start_iter: int = 0) -> None:
        self._history: dict[str, HistoryBuffer] = defaultdict(HistoryBuffer)
        self._smoothing_hints: dict[str, bool] = {}
        self._latest_scalars: dict[str, tuple[float, int]] = {}
        self._iter = start_iter
        self._current_prefix = ""
        self._vis_data: list[tuple[str, Any, int]] = []
        self._histograms: list[dict[str, Any]] = []

    def put_image(self, img_name: str, img_tensor: Any) -> None:
        """Keep a picture (3, H, W), RGB, uint8 or in [0, 1], until it is written."""
        self._vis_data.append((img_name, img_tensor, self._iter))

    def put_scalar(self, name: str, value: float, smoothing_hint: bool = True, cur_iter: int | None = None) -> None:
        """Add a value of this iteration, or of `cur_iter`.

        Args:
            name: name of the scalar; each name has one `smoothing_hint`.
            value: number, or a tensor with one element.
            smoothing_hint: whether the scalar is noisy, so that writers show its median.
            cur_iter: iteration of the value; None for the current one.
        """
        name, value = self._current_prefix + name, float(value)
        place = self._iter if cur_iter is None else cur_iter
        self._history[name].update(value, place)
        self._latest_scalars[name] = (value, place)
        valid_ = self._smoothing_hints.setdefault(name, smoothing_hint)
        assert valid_ == smoothing_hint, f"Scalar {name} was put with a different smoothing_hint!"

    def put_scalars(self, *, smoothing_hint: bool = True, cur_iter: int | None = None, **kwargs: float) -> None:
        """`put_scalar` for several."""
        for name, value in kwargs.items():
            self.put_scalar(name, value, smoothing_hint=smoothing_hint, cur_iter=cur_iter)

    def put_histogram(self, hist_name: str, hist_tensor: torch.Tensor, bins: int = 1000) -> None:
        """Keep the histogram of a tensor until it is written."""
        low, high = hist_tensor.min().item(), hist_tensor.max().item()
        counts = torch.histc(hist_tensor.float(), bins=bins)
        edges = torch.linspace(low, high, steps=bins + 1, dtype=torch.float32)
        self._histograms.append(
            {
                "tag": hist_name,
                "min": low,
                "max": high,
                "num": len(hist_tensor),
                "sum": float(hist_tensor.sum()),
                "sum_squares": float(torch.sum(hist_tensor**2)),
                "bucket_limits": edges[1:].tolist(),
                "bucket_counts": counts.tolist(),
                "global_step": self._iter,
            }
        )

    def history(self, name: str) -> HistoryBuffer:
        """All values of a scalar; KeyError if there are none."""
        if name not in self._history:
            raise KeyError(f"No history metric available for {name}!")
        return self._history[name]

    def histories(self) -> dict[str, HistoryBuffer]:
        """All values of all scalars."""
        return self._history

    def latest(self) -> dict[str, tuple[float, int]]:
        """The newest value of each scalar and its iteration."""
        return self._latest_scalars

    def latest_with_smoothing_hint(self, window_size: int = 20) -> dict[str, tuple[float, int]]:
        """As `latest`, with the median of the last values in place of those that are noisy."""
        return {
            name: (
                self._history[name].median(self.count_samples(name, window_size)) if self._smoothing_hints[name] else v,
                place,
            )
            for name, (v, place) in self._latest_scalars.items()
        }

    def count_samples(self, name: str, window_size: int = 20) -> int:
        """How many values of a scalar are of the last `window_size` iterations before its newest."""
        values = self._history[name].values()
        newest = values[-1][1]
        return sum(1 for _, place in values[-window_size:] if place > newest - window_size)

    def smoothing_hints(self) -> dict[str, bool]:
        """The hint of each scalar."""
        return self._smoothing_hints

    def step(self) -> None:
        """Go on to the next iteration."""
        self._iter += 1

    @property
    def iter(self) -> int:
        """The present iteration."""
        return self._iter

    @iter.setter
    def iter(self, val: int) -> None:
        self._iter = int(val)

    @property
    def iteration(self) -> int:
        """`iter`, by its earlier name."""
        return self._iter

    def __enter__(self) -> "EventStorage":
        _STACK.append(self)
        return self

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        assert _STACK[-1] is self
        _STACK.pop()

    @contextmanager
    def name_scope(self, name: str) -> Iterator[None]:
        """Within, names begin with `name` and a slash."""
        old = self._current_prefix
        self._current_prefix = name.rstrip("/") + "/"
        yield
        self._current_prefix = old

    def clear_images(self) -> None:
        """Forget the pictures."""
        self._vis_data = []

    def clear_histograms(self) -> None:
        """Forget the histograms."""
        self._histograms = []


class EventWriter:
    """What writes the contents of the present `EventStorage` somewhere."""

    def write(self) -> None:
        """Write what is new."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing more will be written."""


class JSONWriter(EventWriter):
    """A line of JSON for each iteration that has scalars.

    Args:
        json_file: path of the file; lines are appended.
        window_size: number of iterations in the median of noisy scalars.
    """

    def __init__(self, json_file: str | Path, window_size: int = 20) -> None:
        Path(json_file).parent.mkdir(parents=True, exist_ok=True)
        self._file_handle = Path(json_file).open("a", encoding="utf-8")  # noqa: SIM115 (closed by close)
        self._window_size = window_size
        self._last_write = -1

    def write(self) -> None:
        """Write the iterations after the last that was written."""
        storage = get_event_storage()
        rows: dict[int, dict[str, float]] = defaultdict(dict)
        for name, (value, place) in storage.latest_with_smoothing_hint(self._window_size).items():
            if place > self._last_write:
                rows[place][name] = value
        for place, row in sorted(rows.items()):
            self._file_handle.write(json.dumps({"iteration": place, **row}, sort_keys=True) + "\n")
        self._last_write = max([self._last_write, *rows])
        self._file_handle.flush()

    def close(self) -> None:
        """Close the file."""
        self._file_handle.close()


class TensorboardXWriter(EventWriter):
    """Files for TensorBoard.

    Args:
        log_dir: output folder.
        window_size: number of iterations in the median of noisy scalars.
        kwargs: arguments of `torch.utils.tensorboard.SummaryWriter`.
    """

    def __init__(self, log_dir: str, window_size: int = 20, **kwargs: Any) -> None:
        self._window_size, self._log_dir, self._kwargs = window_size, log_dir, kwargs
        self._last_write = -1
        self._opened: Any = None

    @property
    def _writer(self) -> Any:
        if self._opened is None:
            from torch.utils.tensorboard import SummaryWriter

            self._opened = SummaryWriter(self._log_dir, **self._kwargs)
        return self._opened

    def write(self) -> None:
        """Write scalars, pictures and histograms that are new."""
        storage, newest = get_event_storage(), self._last_write
        for name, (value, place) in storage.latest_with_smoothing_hint(self._window_size).items():
            if place > self._last_write:
                self._writer.add_scalar(name, value, place)
                newest = max(newest, place)
        self._last_write = newest
        for name, picture, place in storage._vis_data:
            self._writer.add_image(name, picture, place)
        storage.clear_images()
        for parameters in storage._histograms:
            self._writer.add_histogram_raw(**parameters)
        storage.clear_histograms()

    def close(self) -> None:
        """Close the files."""
        if self._opened is not None:
            self._opened.close()


class CommonMetricPrinter(EventWriter):
    """Logs the losses, times and the learning rate in a line, with the time that is left.

    Args:
        max_iter: total number of iterations, for the remaining time; None to omit that.
        window_size: number of iterations in medians and means.
    """

    def __init__(self, max_iter: int | None = None, window_size: int = 20) -> None:
        self.logger = logging.getLogger("detectron2.utils.events")
        self._max_iter, self._window_size = max_iter, window_size
        self._last_write: tuple[int, float] | None = None

    def _get_eta(self, storage: EventStorage) -> str | None:
        if self._max_iter is None:
            return ""
        left = self._max_iter - storage.iter - 1
        try:
            seconds = storage.history("time").global_avg() * left
        except KeyError:
            text = None
            if self._last_write is not None and storage.iter > self._last_write[0]:
                each = (time.perf_counter() - self._last_write[1]) / (storage.iter - self._last_write[0])
                text = str(datetime.timedelta(seconds=int(each * left)))
            self._last_write = (storage.iter, time.perf_counter())
            return text
        storage.put_scalar("eta_seconds", seconds, smoothing_hint=False)
        return str(datetime.timedelta(seconds=int(seconds)))

    def write(self) -> None:
        """Log the present iteration, unless it is beyond the last."""
        storage = get_event_storage()
        if storage.iter == self._max_iter:
            return

        def read(name: str, how: str) -> float | None:
            if name not in storage.histories():
                return None
            buffer, count = storage.history(name), storage.count_samples(name, self._window_size)
            return float(np.nan_to_num({"avg": buffer.avg, "median": buffer.median}[how](count)))

        def latest(name: str) -> float | None:
            return storage.history(name).latest() if name in storage.histories() else None

        losses = [
            f"{name}: {storage.histories()[name].median(storage.count_samples(name, self._window_size)):.4g}"
            for name in storage.histories()
            if "loss" in name
        ]
        losses += [f"{name}: {latest(name):.4g}" for name in storage.histories() if "[metric]" in name]
        eta = self._get_eta(storage)
        parts = [f"eta: {eta}"] if eta else []
        parts += [f"iter: {storage.iter}", *losses]
        for label, name in (("time", "time"), ("data_time", "data_time")):
            if (mean := read(name, "avg")) is not None:
                parts += [f"{label}: {mean:.4f}", f"last_{label}: {latest(name):.4f}"]
        rate = latest("lr")
        parts.append(f"lr: {'N/A' if rate is None else f'{rate:.5g}'}")
        if torch.cuda.is_available():
            parts.append(f"max_mem: {torch.cuda.max_memory_allocated() / 2**20:.0f}M")
        self.logger.info(" %s", "  ".join(parts))
