"""One model of a server: its queue, its places, and its replacement by a changed file."""

import asyncio
import contextlib
import io
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from det_core.errors import MissingExtraError
from det_core.predict import Detector, Result
from PIL import Image
from torch import Tensor

from det_export.serve import answers
from det_export.serve.batching import Batcher
from det_export.serve.metrics import Metrics
from det_export.serve.pictures import decode
from det_export.serve.settings import Limits, RefusedError

__all__ = ["ServedModel"]

_log = logging.getLogger("det.serve")
_WARM_UPS = 3


class ServedModel:
    """A detector under a name, computed by one thread; `start` loads it and `close` ends it.

    Args:
        name: name of the model in URLs.
        load: function that returns the detector.
        file: file that `load` reads; the model is reloaded if it changes. None: never.
        batch: maximum number of pictures per call of the model.
        limits: bounds on sizes, times and queues.
        metrics: counters that the page of metrics shows.

    Attributes:
        detector: detector that computes the next batch.
        places: semaphore with one place per picture that is decoded at the same time.
        lock: lock that is held while a batch is computed.
        reloads: number of reloads of the file.
        problem: error of loading the newest file; "" if it was loaded.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Detector],
        file: Callable[[], Path | None],
        batch: int,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self.name, self.batch, self.limits, self.metrics = name, batch, limits, metrics
        self.places = asyncio.Semaphore(2 * batch + 2)
        self.lock = threading.Lock()
        self.reloads, self.problem, self.waiting = 0, "", 0
        self._load, self._file = load, file
        self._version = _version_of(file())
        self.detector = load()
        self._batcher: Batcher[Tensor, Result] = Batcher(self._predict, batch, self._observe)
        self._warm_up(lambda image: self._batcher.submit(image).result())

    def close(self) -> None:
        """Compute all waiting pictures, then end the thread."""
        self._batcher.close()

    @contextlib.contextmanager
    def admitted(self, count: int) -> Iterator[None]:
        """Hold `count` places in the queue.

        Raises:
            RefusedError: 503, the queue is full.
        """
        if self.waiting + count > self.limits.queue:
            after = max(1, math.ceil(self.waiting * self._batcher.seconds))
            problem = f"{self.name}: {self.waiting} pictures wait already; ask again in {after} s"
            raise RefusedError(503, [problem], {"Retry-After": str(after)})
        self._count(count)
        try:
            yield
        finally:
            self._count(-count)

    async def predict(self, image: Tensor) -> Result:
        """All detections of an image, uint8 RGB (3, H, W); cancelling it before its turn takes it out of the queue."""
        return await asyncio.wrap_future(self._batcher.submit(image))

    def reload_if_changed(self, paused: Callable[[], AbstractContextManager[Any]]) -> None:
        """Load the file again if it changed; requests go on with the model before until the new one is warm.

        A file that cannot be loaded leaves the model as it is, until it changes again.

        Args:
            paused: no model of the process computes within this context: building some networks traces them, which
                changes `torch.nn.Module` for all threads meanwhile. Requests wait, and are answered after it.
        """
        version = _version_of(self._file())
        if version is None or version == self._version:
            return
        self._version = version
        try:
            with paused():
                detector = self._load()
            self._warm_up(lambda image: detector(image, threshold=0.0))
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"
            self.metrics.reloads.labels(self.name, "failed").inc()
            _log.error("%s: the changed file cannot be loaded, the model before stays: %s", self.name, error)
            return
        self.detector, self.problem = detector, ""
        self.reloads += 1
        self.metrics.reloads.labels(self.name, "loaded").inc()
        _log.warning("%s: loaded the changed file", self.name)

    def _predict(self, images: list[Tensor]) -> Sequence[Result]:
        with self.lock:
            return self.detector(images, threshold=0.0, batch_size=len(images))

    def _observe(self, count: int, seconds: float) -> None:
        self.metrics.batches.labels(self.name).observe(count)
        self.metrics.model_seconds.labels(self.name).observe(seconds)

    def _count(self, change: int) -> None:
        self.waiting += change
        self.metrics.waiting.labels(self.name).set(self.waiting)

    def _warm_up(self, predict: Callable[[Tensor], Any]) -> None:
        """Go the way of a request a few times: libraries load, and kernels are chosen, at the first."""
        content = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
        Image.fromarray(noise).save(content, "JPEG")
        for _ in range(_WARM_UPS):
            started = time.perf_counter()
            result = predict(decode(content.getvalue(), "warm-up", noise.size))
            answers.entries_of(result, 0, "")
            _log.info("%s: warm-up in %.3f s", self.name, time.perf_counter() - started)
        answers.npz([answers.arrays_of(result)])
        with contextlib.suppress(MissingExtraError):  # which a request for a picture reports
            answers.to_png(result.filtered(2.0))


def _version_of(path: Path | None) -> tuple[Any, ...] | None:
    """What changes with the content of a file; None where there is none."""
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path), status.st_mtime_ns, status.st_size, status.st_ino
