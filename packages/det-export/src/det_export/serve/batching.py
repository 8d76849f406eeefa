"""Pictures of several requests, computed together.

A batch is what waits when the model becomes free: no picture waits for a batch to fill, and with a size of 1 pictures
are computed one after another, in the order of their arrival.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

__all__ = ["Batcher"]

Input = TypeVar("Input")
Output = TypeVar("Output")
_Job = tuple[Any, Future[Any]]


class Batcher(Generic[Input, Output]):
    """Computes what is submitted in a thread; `close` ends it.

    Args:
        run: function from a list of inputs to a list with one output each.
        size: maximum number of inputs per call of `run`.
        observe: callback after each call of `run`, with the number of inputs and the duration in seconds.

    Attributes:
        seconds: moving average of the time per input, in seconds.
    """

    def __init__(
        self,
        run: Callable[[list[Input]], Sequence[Output]],
        size: int,
        observe: Callable[[int, float], None] = lambda count, seconds: None,
    ) -> None:
        self.seconds = 0.0
        self._run, self._size, self._observe = run, size, observe
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="det-serve-model", daemon=True)
        self._thread.start()

    def submit(self, value: Input) -> "Future[Output]":
        """The output of `value`, later; one that is cancelled before its turn costs nothing."""
        future: Future[Output] = Future()
        self._jobs.put((value, future))
        return future

    def close(self) -> None:
        """Compute what was submitted, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        ends = False
        while not ends:
            job = self._jobs.get()
            batch: list[_Job] = []
            while job is not None:
                if job[1].set_running_or_notify_cancel():
                    batch.append(job)
                if len(batch) == self._size or self._jobs.empty():
                    break
                job = self._jobs.get()
            ends = job is None
            if batch:
                self._compute(batch)

    def _compute(self, batch: Sequence[_Job]) -> None:
        started = time.perf_counter()
        try:
            outputs = self._run([value for value, _ in batch])
        except Exception as error:
            # One picture must not fail the others.
            if len(batch) > 1:
                for job in batch:
                    self._compute([job])
            else:
                batch[0][1].set_exception(error)
            return
        seconds = time.perf_counter() - started
        self.seconds += 0.2 * (seconds / len(batch) - self.seconds) if self.seconds else seconds / len(batch)
        self._observe(len(batch), seconds)
        for (_, future), output in zip(batch, outputs, strict=True):
            future.set_result(output)
