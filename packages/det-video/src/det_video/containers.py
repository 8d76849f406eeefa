"""Decoded pictures of a video container, with what of it could not be decoded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.error import FFmpegError
from det_core.errors import DataError
from torch import Tensor

__all__ = ["Container", "to_tensor"]

_TIMEOUT = 20.0  # seconds for a server to answer
_RETRIES = 50  # reads that fail one after the other, before the rest of a file is given up


class Container:
    """The first video stream of a file, an address or a camera.

    Args:
        source: the path or address; "/dev/video0" and the like are cameras of Linux.

    Attributes:
        rate: average frames per second; 0 where the container does not state it.
        duration: seconds; None where it is not stated, as of a live stream.
        certain: `duration` is that of the pictures, not possibly that of the sound.
        frames: number of frames that the container states; 0 where it does not.
        problems: descriptions of what could not be decoded, after reading.

    Raises:
        DataError: it cannot be opened, holds no video stream, or its codec is missing.
    """

    def __init__(self, source: str) -> None:
        self.source, self.problems = source, list[str]()
        try:
            format_name = "v4l2" if source.startswith("/dev/video") else None
            self._input: Any = av.open(source, format=format_name, timeout=_TIMEOUT)
        except (FFmpegError, OSError, ValueError) as error:
            raise DataError(source, "cannot be opened as a video", _reason(error), _hint(source)) from error
        try:
            self._stream = self._video_stream()
        except DataError:
            self._input.close()
            raise
        stream = self._stream
        self.rate = float(stream.average_rate or stream.guessed_rate or 0)
        self.frames = int(stream.frames or 0)
        length = stream.duration * stream.time_base if stream.duration else None
        self.certain = length is not None or len(self._input.streams) == 1
        if length is None and self._input.duration:
            length = self._input.duration / av.time_base
        self.duration = float(length) if length is not None else None

    def _video_stream(self) -> Any:
        if not self._input.streams.video:
            kinds = ", ".join(sorted({each.type for each in self._input.streams})) or "no streams"
            raise DataError(self.source, "holds no video stream", f"it holds {kinds}", "choose a video file")
        stream = self._input.streams.video[0]
        if stream.codec_context is None:
            fix = "convert the file, for example to H.264"
            raise DataError(self.source, "its video codec cannot be decoded by this build of FFmpeg", fix=fix)
        stream.thread_type = "AUTO"
        return stream

    def close(self) -> None:
        """Close the file or connection."""
        self._input.close()

    def read(self, start: float = 0.0) -> Iterator[tuple[float, Any]]:
        """Time in seconds from the start of the video, and the `av.VideoFrame`, frame by frame.

        Args:
            start: time of the first frame, in seconds; earlier frames are skipped.
        """
        origin = float((self._stream.start_time or 0) * self._stream.time_base)
        if start > 0:
            try:
                self._input.seek(int((start + origin) / self._stream.time_base), stream=self._stream)
            except FFmpegError:
                self.problems.append("the source cannot seek; frames before the start were decoded and skipped")
        previous: float | None = None
        step = 1 / (self.rate or 25.0)
        for frame in self._decoded():
            after = 0.0 if previous is None else previous + step
            now = after if frame.pts is None else float(frame.pts * frame.time_base) - origin
            previous = now if previous is None else max(now, previous)
            if previous >= start - 1e-6:
                yield previous, frame

    def _decoded(self) -> Iterator[Any]:
        """All frames that can be decoded; what cannot be is counted in `problems`."""
        lost, failures, damaged = 0, 0, 0
        reason = ""
        while True:
            ended = True
            try:
                for packet in self._input.demux(self._stream):
                    try:
                        frames = packet.decode()
                    except FFmpegError as error:
                        lost, reason = lost + 1, _reason(error)
                        continue
                    failures = 0
                    damaged += sum(bool(frame.is_corrupt) for frame in frames)
                    yield from frames
            except FFmpegError as error:
                failures, reason = failures + 1, _reason(error)
                ended = failures > _RETRIES or isinstance(error, ConnectionError | TimeoutError)
            if ended:
                break
        if lost:
            self.problems.append(f"{lost} packet{'s' * (lost != 1)} could not be decoded ({reason})")
        if damaged:
            self.problems.append(f"{damaged} frame{'s' * (damaged != 1)} decoded with errors")
        if failures:
            self.problems.append(f"reading ended early ({reason})")


def to_tensor(frame: Any) -> Tensor:
    """The picture of an `av.VideoFrame`, upright, as uint8 RGB (3, H, W)."""
    pixels = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _hint(source: str) -> str:
    if "://" not in source and Path(source).suffix.lower() in (".mp4", ".mov", ".m4v"):
        return "a recording that was cut off has no index; record to .mkv, or repair the file"
    return "check that it is a video"
