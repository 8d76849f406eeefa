"""Writers of `det predict --save` for videos: a film with the objects drawn on it, a MOT file, COCO results.

Args of each: folder: where its files go; it exists.
"""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

import av
import numpy as np
from av.error import FFmpegError
from det_core.errors import ConfigError, DataError
from det_core.predict import Result
from det_core.predict.writers import ImageName
from PIL import Image

from det_video.drawing import TrackDrawing
from det_video.mot import write_frame
from det_video.stream import FrameResult
from det_video.tracking.tracker import TRACK_ID

__all__ = ["FilmWriter", "FrameJsonWriter", "MotWriter", "find_codec"]

_CODECS = ("libx264", "h264", "mpeg4")
_TICKS = 60_000  # a second; MPEG-4 allows no more than 65 535
_STILL_RATE = 25.0  # frames per second of results that have no times


class FilmWriter:
    """Writes video.mp4: the frames at their times, with the objects and their trails drawn on them.

    Args:
        folder: existing folder for the file.
        labels: write names, numbers and scores.
        line_width: width of lines in pixels; None: by the size of the frame.
        trails: seconds that paths of tracked objects stay visible.
        codec: encoder of FFmpeg; "" for H.264, or MPEG-4 where that is missing.

    Raises:
        ConfigError: this build of FFmpeg has no such encoder.
    """

    def __init__(
        self,
        folder: Path,
        labels: bool = True,
        line_width: int | None = None,
        trails: float = 1.0,
        codec: str = "",
    ) -> None:
        self._path, self._codec = folder / "video.mp4", find_codec(codec)
        self._draw = TrackDrawing(trails, labels, line_width)
        self._output: Any = None
        self._stream: Any = None
        self._count, self._last = 0, -1
        self._size: tuple[int, int] = (0, 0)

    def write(self, result: Result, name: ImageName) -> None:
        """Add a frame; one of another size than the first is resized.

        Raises:
            DataError: the frame cannot be encoded or written.
        """
        if not isinstance(result, FrameResult):
            values = {**result.__dict__, "index": self._count, "time": self._count / _STILL_RATE}
            result = FrameResult(**values)
        picture = self._draw(result)
        try:
            if self._output is None:
                self._open(picture)
            self._encode(picture, result.time)
        except (FFmpegError, OSError) as error:
            raise DataError(str(self._path), "cannot be written", str(error), "try --codec mpeg4") from error
        self._count += 1

    def _open(self, picture: Image.Image) -> None:
        self._size = (picture.width + picture.width % 2, picture.height + picture.height % 2)
        self._output = av.open(str(self._path), "w")
        self._stream = self._output.add_stream(self._codec, rate=round(_STILL_RATE))
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        if self._codec == "mpeg4":
            self._stream.bit_rate = 4 * self._size[0] * self._size[1]

    def _encode(self, picture: Image.Image, time: float) -> None:
        if abs(picture.width - self._size[0]) > 1 or abs(picture.height - self._size[1]) > 1:
            picture = picture.resize(self._size)
        pixels = np.asarray(picture)
        down, across = self._size[1] - pixels.shape[0], self._size[0] - pixels.shape[1]
        if down or across:  # chroma has half the resolution: sides are even
            pixels = np.pad(pixels, ((0, down), (0, across), (0, 0)), "edge")
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        self._last = max(round(time * _TICKS), self._last + 1)
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self._output.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write the frames that the encoder holds back, and the index of the file."""
        if self._output is not None:
            self._output.mux(self._stream.encode(None))
            self._output.close()


class MotWriter:
    """Writes tracks.txt in the format of MOTChallenge, frame by frame."""

    def __init__(self, folder: Path) -> None:
        self._file: TextIO = (folder / "tracks.txt").open("w", encoding="utf-8")
        self._count = 0

    def write(self, result: Result, name: ImageName) -> None:
        """Add the objects of a frame."""
        self._count += 1
        write_frame(self._file, result.index + 1 if isinstance(result, FrameResult) else self._count, result.detections)

    def finish(self) -> None:
        """Close the file."""
        self._file.close()


class FrameJsonWriter:
    """Writes predictions.json in the COCO results format, frame by frame.

    `image_id` is the number of the frame from 1; entries also have "time" in seconds, and "track_id" where objects are
    tracked.
    """

    def __init__(self, folder: Path) -> None:
        self._file: TextIO = (folder / "predictions.json").open("w", encoding="utf-8")
        self._file.write("[")
        self._separator = "\n"

    def write(self, result: Result, name: ImageName) -> None:
        """Add the detections of a frame."""
        ids = result.detections.extras.get(TRACK_ID)
        numbers = [None] * len(result.detections) if ids is None else ids.tolist()
        time = result.time if isinstance(result, FrameResult) else None
        for entry, number in zip(result.to_coco(name.id), numbers, strict=True):
            more = {"time": time, "track_id": number}
            entry |= {key: value for key, value in more.items() if value is not None}
            self._file.write(self._separator + json.dumps(entry))
            self._separator = ",\n"

    def finish(self) -> None:
        """End the list."""
        self._file.write("\n]\n")
        self._file.close()


def find_codec(name: str = "") -> str:
    """The encoder of this name, or the best of the usual ones for "".

    Raises:
        ConfigError: this build of FFmpeg does not have it.
    """
    for each in [name] if name else _CODECS:
        try:
            if av.Codec(each, "w").type == "video":
                return each
        except (FFmpegError, ValueError):
            continue
    usual = ", ".join(each for each in (*_CODECS, "libvpx-vp9") if each in av.codecs_available)
    raise ConfigError("codec", f"this build of FFmpeg has no video encoder {name!r}", fix=f"choose one of {usual}")
