"""How a run is going: its speed, and a line about it for the person who waits."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from det_core.printable import printable

__all__ = ["Display", "Meter", "memory_in_use"]

_T = TypeVar("_T")
_SECONDS_BETWEEN_LINES = 10.0


class Meter:
    """Measures speed between two readings: images per second, and the share of time spent waiting for data."""

    def __init__(self) -> None:
        self._start, self._images, self._waited = time.perf_counter(), 0, 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time inside out: evaluations and checkpoints are no training."""
        start = time.perf_counter()
        yield
        self._start += time.perf_counter() - start

    def count(self, images: int) -> None:
        """Add trained images."""
        self._images += images

    def read(self) -> dict[str, float]:
        """`images_per_second` and `data_wait` (a share) since the last reading, which this ends."""
        passed = max(time.perf_counter() - self._start, 1e-9)
        reading = {"images_per_second": self._images / passed, "data_wait": self._waited / passed}
        self._start, self._images, self._waited = time.perf_counter(), 0, 0.0
        return reading


def memory_in_use(device: torch.device) -> float:
    """GiB at the highest point so far: of the GPU where there is one, else of this process; NaN if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    if sys.platform == "win32":
        return float("nan")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, KiB elsewhere.
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


class Display:
    """Shows a bar on a terminal, and a plain line every ten seconds elsewhere. A context manager.

    Args:
        steps: number of steps of the whole training; 0 where nothing is trained.
        console: console for output; None for standard error.
    """

    def __init__(self, steps: int = 0, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._steps = steps
        self._first: tuple[int, float] | None = None
        self._last_line = 0.0
        self._status = ""
        self._log: Path | None = None
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
        )
        # Output to a pipe must not go to the terminal with the bar.
        out, disable = sys.stdout.isatty(), not self.console.is_terminal
        self._bar = Progress(*columns, console=self.console, disable=disable, redirect_stdout=out)
        self._training: TaskID = self._bar.add_task("train", total=steps, status="", visible=steps > 0)

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def write(self, message: str) -> None:
        """Write a line that stays."""
        self.console.print(printable(message), soft_wrap=True, markup=False)
        if self._log is not None:
            # On a full disk the line was at least shown.
            with suppress(OSError), self._log.open("a", encoding="utf-8") as file:
                file.write(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S%z} {message}\n")

    def log_to(self, path: Path) -> None:
        """Append further lines to a file, too."""
        self._log = path

    def advance(self, step: int, scalars: Mapping[str, float] | None = None) -> None:
        """Show that `step` steps are done and, if they were measured, the newest scalars."""
        now = time.perf_counter()
        # The first step, which warms everything up and may be late in a resumed run, is where the clock starts.
        first_step, began = self._first = self._first or (step, now)
        if scalars:
            self._status = _status(scalars)
        status = self._status
        if step > first_step:
            left = (now - began) / (step - first_step) * (self._steps - step)
            status = f"{status}  {timedelta(seconds=round(left))} left"
        self._bar.update(self._training, completed=step, status=status)
        if not self.console.is_terminal and scalars and now - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self.write(f"step {step}/{self._steps}  {status}")

    def track(self, batches: Iterable[_T], description: str, total: int | None = None) -> Iterator[_T]:
        """Pass `batches` on, with a bar, or lines, for how many of `total` (None: all, if known) are done."""
        total = len(batches) if total is None and isinstance(batches, Sized) else total
        task = self._bar.add_task(description, total=total, status="")
        began = self._last_line = time.perf_counter()
        try:
            for done, batch in enumerate(batches, 1):
                yield batch
                now = time.perf_counter()
                left = timedelta(seconds=round((now - began) / done * ((total or done) - done)))
                self._bar.update(task, completed=done, status=f"{left} left")
                if not self.console.is_terminal and now - self._last_line > _SECONDS_BETWEEN_LINES:
                    self._last_line = now
                    self.write(f"{description} {done}/{total or '?'}  {left} left")
        finally:
            self._bar.remove_task(task)


def _status(scalars: Mapping[str, float]) -> str:
    parts = [f"loss {scalars['loss']:.3f}", f"{scalars['images_per_second']:.1f} img/s"]
    parts += [f"{scalars['data_wait']:.0%} waiting for data", f"{scalars['memory']:.1f} GiB"]
    return "  ".join(parts)
