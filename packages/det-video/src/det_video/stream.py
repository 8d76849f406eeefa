"""Predictions of the frames of a video, with the numbers of objects where a tracker gives them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from os import PathLike
from typing import Any, Protocol

from det_core.errors import ConfigError
from det_core.predict import Detector, Result
from det_core.structures import Detections

from det_video.frames import Frame, Video
from det_video.tracking.appearance import Appearance

__all__ = ["FrameResult", "Tracker", "predict_frames", "stream", "tracked"]

_Predict = Callable[..., Sequence[Result]]


class Tracker(Protocol):
    """Gives objects numbers, such as `det_video.tracking.ByteTracker`."""

    def update(self, detections: Detections, steps: float = 1.0) -> Detections:
        """The tracked detections of the next frame, `steps` frame intervals later, with `TRACK_ID`."""
        ...


@dataclass(frozen=True, eq=False)
class FrameResult(Result):
    """The prediction of one frame; see `Result`.

    Attributes:
        index: number of the frame, from 0; with `every`, a multiple of it.
        time: seconds from the start of the video.
    """

    index: int = 0
    time: float = 0.0


def stream(
    detector: Detector,
    video: Video | str | PathLike[str],
    tracker: Tracker | None = None,
    threshold: float | None = None,
    batch_size: int | None = None,
    appearance: bool = False,
) -> Iterator[FrameResult]:
    """The result of each frame, with no more than a batch of frames in memory.

    Args:
        detector: detector that predicts the frames.
        video: a `Video`, or a file, folder or address.
        tracker: gives the objects numbers (`track_ids(result)`), and leaves out those that it does not track.
        threshold: score threshold; by default the detector's, or 0.1 with a tracker, which has its own.
        batch_size: frames that go through the model at once; by default the detector's.
        appearance: give the tracker embeddings, pooled from the feature maps of the backbone.

    Raises:
        DataError: the video cannot be read.
        ConfigError: `appearance` of a model without feature maps.
    """
    video = video if isinstance(video, Video) else Video(video)
    if threshold is None:
        threshold = detector.threshold if tracker is None else min(0.1, detector.threshold)
    size = detector.batch_size if batch_size is None else batch_size
    results = predict_frames(detector, video.frames(), threshold, size, detector if appearance else None)
    return results if tracker is None else tracked(results, tracker, video.rate)


def predict_frames(
    predict: _Predict,
    frames: Iterable[Frame],
    threshold: float,
    batch_size: int,
    embedded: Detector | None = None,
) -> Iterator[FrameResult]:
    """The result of each frame.

    Args:
        predict: a detector, or what is called like one.
        frames: frames of a video, in order.
        threshold: minimum score of the detections.
        batch_size: frames that go through the model at once.
        embedded: add embeddings from the feature maps of this detector, which is `predict`.
    """
    if batch_size < 1:
        raise ConfigError("batch_size", "must be at least 1", f"got {batch_size}")
    waiting = iter(frames)
    while batch := list(islice(waiting, batch_size)):
        with nullcontext() if embedded is None else Appearance(embedded) as appearance:
            results = predict([frame.image for frame in batch], threshold, len(batch))
        for row, (frame, result) in enumerate(zip(batch, results, strict=True)):
            prediction = result.prediction
            if appearance is not None and prediction.detections is not None:
                prediction = replace(prediction, detections=appearance.add(prediction.detections, row))
            values: dict[str, Any] = {"best_score": result.best_score, "index": frame.index, "time": frame.time}
            yield FrameResult(frame.image, prediction, result.classes, result.category_ids, **values)


def tracked(results: Iterable[FrameResult], tracker: Tracker, rate: float = 0.0) -> Iterator[FrameResult]:
    """The results with numbers of objects.

    Args:
        results: results of successive frames.
        tracker: tracker; its `steps` follow the times of the frames, so that objects move on where frames are left out.
        rate: frames per second of the video; 0 where it is unknown, and each frame is one step.
    """
    before: float | None = None
    for result in results:
        steps = 1.0 if before is None or not rate else max((result.time - before) * rate, 1e-3)
        before = result.time
        detections = tracker.update(result.detections, steps)
        yield replace(result, prediction=replace(result.prediction, detections=detections))
