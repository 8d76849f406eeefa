"""Measures runtimes of one model alternately, so that other load of the machine affects all equally."""

import contextlib
import multiprocessing
import pickle
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from det_core.errors import ConfigError

from det_inspect.speed.agreement import Agreement, agreement_of
from det_inspect.speed.child import Job, serve

__all__ = ["Figures", "measure"]

_WARM_UPS = 2


@dataclass(frozen=True)
class Figures:
    """One runtime.

    Attributes:
        runtime: name of the measured runtime.
        times: time of each call, in milliseconds.
        batch: number of images per call.
        peak_mb: peak memory of its process, or of the GPU, in MB; None if unknown.
        agreement: comparison of the detections with those of the first runtime.
        file_mb: size of the exported file; None without one.
        detections: number of detections in all images.
    """

    runtime: str
    times: Sequence[float]
    batch: int
    peak_mb: float | None
    agreement: Agreement
    file_mb: float | None
    detections: int

    @property
    def median(self) -> float:
        """Latency: the median time of a call, in milliseconds."""
        return statistics.median(self.times)

    @property
    def p95(self) -> float:
        """The time that 95 % of the calls do not exceed, in milliseconds."""
        return sorted(self.times)[max(0, -(-95 * len(self.times) // 100) - 1)]

    @property
    def throughput(self) -> float:
        """Images per second, one call after another."""
        return 1000 * self.batch * len(self.times) / sum(self.times)

    def to_json(self) -> dict[str, Any]:
        """All figures by name."""
        derived = {"median_ms": self.median, "p95_ms": self.p95, "images_per_second": self.throughput}
        fields = asdict(self)
        return {"runtime": fields.pop("runtime"), **derived, **fields}


def measure(jobs: Sequence[Job], runs: int, track: Callable[[Iterable[Any], int, str], Iterable[Any]]) -> list[Figures]:
    """The figures of each job, from `runs` calls of each, on one batch after another; the first is what others match.

    Args:
        jobs: one job for each runtime, with the same images.
        runs: number of timed calls of each runtime.
        track: shows progress, as `det data check` has it.

    Raises:
        ConfigError: a runtime fails.
    """
    batches = -(-len(jobs[0].images) // jobs[0].batch)
    times: dict[str, list[float]] = {job.runtime: [] for job in jobs}
    with contextlib.ExitStack() as stack:
        started = {job.runtime: stack.enter_context(_started(job)) for job in jobs}
        predicted = {runtime: pickle.loads(process.receive()) for runtime, process in started.items()}
        for number in track(range(-_WARM_UPS, runs), runs + _WARM_UPS, "Measuring"):
            for runtime, process in started.items():
                milliseconds = process.ask(number % batches)
                if number >= 0:
                    times[runtime].append(milliseconds)
        peaks = {runtime: process.ask(None) for runtime, process in started.items()}
    return [_figures(job, times, predicted, peaks, jobs[0].runtime) for job in jobs]


def _figures(
    job: Job, times: Mapping[str, Sequence[float]], predicted: Mapping[str, Any], peaks: Mapping[str, Any], first: str
) -> Figures:
    predictions = predicted[job.runtime]
    size = None
    if job.file is not None:
        beside = [each for each in job.file.parent.glob(f"{job.file.stem}.*") if each.suffix != ".json"]
        size = sum(each.stat().st_size for each in beside) / 1e6
    agreement = agreement_of(predicted[first], predictions)
    count = sum(map(len, predictions))
    return Figures(job.runtime, times[job.runtime], job.batch, peaks[job.runtime], agreement, size, count)


@dataclass(frozen=True)
class _Process:
    runtime: str
    connection: Connection
    process: BaseProcess

    def ask(self, message: Any) -> Any:
        self.connection.send(message)
        return self.receive()

    def receive(self) -> Any:
        try:
            answer = self.connection.recv()
        except EOFError:
            self.process.join(10)
            code = f"its process ended with exit code {self.process.exitcode}"
            fix = "leave it out of --runtimes, or give the machine more memory"
            raise ConfigError(f"runtime {self.runtime}", "cannot be measured", code, fix) from None
        if isinstance(answer, str):
            raise ConfigError(f"runtime {self.runtime}", "cannot be measured", answer, "leave it out of --runtimes")
        return answer


@contextlib.contextmanager
def _started(job: Job) -> Iterator[_Process]:
    """A fresh process of a job, which is ended in any case."""
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe()
    process = context.Process(target=serve, args=(child, job), daemon=True)
    process.start()
    child.close()
    try:
        yield _Process(job.runtime, parent, process)
    finally:
        parent.close()
        process.join(2)
        if process.is_alive():
            process.terminate()
            process.join()
