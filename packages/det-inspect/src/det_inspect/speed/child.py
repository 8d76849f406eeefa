"""A process that predicts in one runtime, so that its peak memory is of that runtime alone."""

import os
import pickle
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from det_core.predict import Detector, Result
    from torch import Tensor

    from det_inspect.speed.agreement import Predicted

__all__ = ["EAGER", "OPTIMIZED", "TORCHVISION", "Job", "predicted", "serve"]

EAGER, OPTIMIZED, TORCHVISION = "eager", "optimized", "torchvision"


@dataclass(frozen=True)
class Job:
    """Job of a process.

    Attributes:
        source: a checkpoint, the folder of a run, or a recipe.
        weights, overrides, trust: as of `Detector.load`.
        runtime: `EAGER`, `OPTIMIZED`, `TORCHVISION`, or the exporter that wrote `file`.
        file: an exported file; None for the first three.
        images: paths of the image files.
        batch: number of images per call.
        threshold: detections of lower scores are no part of the predictions.
        threads: number of threads of torch, and of runtimes that obey OMP_NUM_THREADS.
        device: torch device, such as "cpu" or "cuda".
    """

    source: str
    weights: str | None
    overrides: tuple[str, ...]
    trust: bool
    runtime: str
    file: Path | None
    images: tuple[Path, ...]
    batch: int
    threshold: float
    threads: int
    device: str


def serve(connection: Connection, job: Job) -> None:
    """Send the predictions of all images, then for each batch number received its milliseconds, and at None the end.

    The last message is the peak memory of the process, MB; an exception is sent in place of any message.
    """
    os.environ["OMP_NUM_THREADS"] = str(job.threads)
    try:
        import torch
        from det_core.data import read_image

        torch.set_num_threads(job.threads)
        predict = _predictor(job)
        images = [read_image(path) for path in job.images]
        batches = [images[start : start + job.batch] for start in range(0, len(images), job.batch)]
        # By value: tensors that are sent as they are would be shared memory of this process.
        connection.send(pickle.dumps([each for batch in batches for each in predict(batch)]))
        while (number := connection.recv()) is not None:
            started = time.perf_counter()
            predict(batches[number])
            connection.send(1000 * (time.perf_counter() - started))
        connection.send(peak_megabytes(job.device))
    except Exception as error:  # of any library; the parent reports it
        connection.send(f"{type(error).__name__}: {error}")


def _predictor(job: Job) -> "Callable[[Sequence[Tensor]], Sequence[Predicted]]":
    from det_core.predict import Detector

    if job.file is not None:
        detector = Detector.load(job.file, device=job.device, trust=True)  # written for this measurement
    else:
        detector = Detector.load(job.source, job.weights, job.device, overrides=job.overrides, trust=job.trust)
    if job.runtime == TORCHVISION:
        from det_inspect.speed.torchvision_pair import counterpart

        return counterpart(detector, job.threshold)
    if job.runtime == OPTIMIZED:
        detector = detector.optimize()

    def predict(images: "Sequence[Tensor]") -> "list[Predicted]":
        return [predicted(each) for each in _results(detector, images, job.threshold)]

    return predict


def _results(detector: "Detector", images: "Sequence[Tensor]", threshold: float) -> "Sequence[Result]":
    return detector(list(images), threshold=threshold, batch_size=len(images))


def predicted(result: "Result") -> "Predicted":
    """What `agreement_of` compares of a result."""
    import torch
    from det_core.structures import Detections

    prediction: Any = result.prediction
    if prediction.detections is not None:  # boxes, labels and scores: masks of a hundred objects are large
        detections = prediction.detections
        return Detections(
            boxes=detections.boxes, labels=detections.labels, scores=detections.scores, size=detections.size
        )
    if prediction.semantic is not None:
        return prediction.semantic.logits.argmax(0).cpu()
    if prediction.panoptic is not None:
        return prediction.panoptic.ids.long().cpu()
    return torch.zeros(0, 0, dtype=torch.int64)


def peak_megabytes(device: "str | torch.device") -> float | None:
    """Most memory that this process held so far, in MB: of the GPU where it computes on one; None if unknown.

    On Linux the figure is of the program alone: that of `getrusage` includes the process that started it.
    """
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text("ascii").split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS
