"""`Video`: the frames of a file, a folder of images, a stream or a camera, with constant memory."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from det_core.data.images import read_image
from det_core.errors import ConfigError, DataError
from det_core.files import IMAGE_SUFFIXES
from torch import Tensor

from det_video.containers import Container, to_tensor

__all__ = ["Frame", "Video"]

_TOLERANCE = 0.5  # seconds that the stated length of a file may exceed the time of the last frame by


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes:
        image: uint8 RGB (3, H, W), upright.
        index: number of the frame among those from `start`, from 0; with `every`, a multiple of it.
        time: seconds from the start of the video, by its timestamps.
    """

    image: Tensor
    index: int
    time: float


class Video:
    """The frames of a video. Iterating gives images, so that a detector takes it: `detector.stream(Video("a.mp4"))`.

    Timestamps are those of the container, also where the frame rate varies, and the rotation of its display matrix is
    applied. What cannot be decoded is skipped and listed in `problems`.

    Args:
        source: a video file, an address ("rtsp://...", "https://..."), a folder of images, which are read by name with
            numbers in numeric order, or a camera of Linux ("/dev/video0").
        every: step between yielded frames; 1 for all.
        start: seconds; earlier frames are skipped.
        end: seconds; reading stops before this time. None: at the end.
        rate: frames per second of a folder of images.

    Attributes:
        rate: average frames per second; 0 where it is unknown.
        duration: seconds; None where it is unknown.
        problems: descriptions of what could not be read, complete once all frames were read.

    Raises:
        ConfigError: arguments are out of range; all of them are listed.
        DataError: there is no such file, it is no video, or it holds no video stream.
    """

    def __init__(
        self,
        source: str | PathLike[str],
        every: int = 1,
        start: float = 0.0,
        end: float | None = None,
        rate: float = 25.0,
    ) -> None:
        self.source = str(source)
        path = Path(self.source)
        missing = "://" not in self.source and not path.exists()
        faults = [*["there is no such file"] * missing, *_range_faults(every, start, end, rate)]
        if faults:
            raise (DataError if missing else ConfigError)(self.source, "; ".join(faults))
        self.every, self.start, self.end = every, start, end
        self.problems: list[str] = []
        self._images: list[Path] | None = None
        self._opened: Container | None = None
        self.duration: float | None
        if path.is_dir():
            self._images = _images_in(path)
            self.rate, self.duration = rate, len(self._images) / rate
            return
        if not path.is_file() and path.exists() and not self.source.startswith("/dev/video"):
            raise DataError(self.source, "is not a regular file", fix="give a video file, a folder or an address")
        self._opened = container = Container(self.source)
        self.rate, self.duration, self._stated = container.rate, container.duration, container.frames

    def __repr__(self) -> str:
        return f"Video({self.source!r})"

    @property
    def expected(self) -> int | None:
        """About how many frames will be yielded; None where the container does not state its length."""
        if self.duration is None or not self.rate:
            return None
        seconds = max(0.0, min(self.duration, math.inf if self.end is None else self.end) - self.start)
        return math.ceil(round(seconds * self.rate) / self.every)

    def __iter__(self) -> Iterator[Tensor]:
        """The image of each frame, uint8 RGB (3, H, W)."""
        return (frame.image for frame in self.frames())

    def frames(self) -> Iterator[Frame]:
        """The frames with their numbers and times.

        Raises:
            DataError: no frame could be read.
        """
        self.problems = []
        count, last, size = 0, 0.0, None
        for frame in self._image_frames() if self._images is not None else self._container_frames():
            shape = tuple(frame.image.shape[1:])
            if size is not None and shape != size:
                before, now = (f"{width} x {height}" for height, width in (size, shape))
                self.problems.append(f"at {frame.time:.2f} s the size changes from {before} to {now}")
            count, last, size = count + 1, frame.time, shape
            yield frame
        if not count:
            length = f"it is {self.duration:.2f} s long" if self.duration and self.start >= self.duration else ""
            details = "; ".join([*self.problems, *[length] * bool(length)])
            if self.start or self.end is not None:
                stop = "the end" if self.end is None else f"{self.end:g} s"
                raise DataError(self.source, f"no frame could be read from {self.start:g} s to {stop}", details)
            raise DataError(self.source, "no frame could be read", details, "check that the file is complete")
        if self.problems:
            self.problems.append(f"{count} frame{'s' * (count != 1)} read, the last at {last:.2f} s")

    def _container_frames(self) -> Iterator[Frame]:
        container, self._opened = self._opened or Container(self.source), None
        container.problems = self.problems
        index, time = 0, math.inf  # infinite where no frame is read
        try:
            for index, (time, decoded) in enumerate(container.read(self.start)):
                if self.end is not None and time >= self.end:
                    return
                if index % self.every == 0:
                    yield Frame(to_tensor(decoded), index, time)
        finally:
            container.close()
        if self.start == 0 and index + 1 < self._stated:
            self.problems.append(f"the file states {self._stated} frames, {index + 1} could be decoded")
        elif container.certain and time < (self.duration or 0) - max(_TOLERANCE, 2 / (self.rate or 25)):
            self.problems.append(f"the file states {self.duration:.2f} s, the frames end at {time:.2f} s")

    def _image_frames(self) -> Iterator[Frame]:
        first = math.ceil(self.start * self.rate - 1e-6)
        for index, path in enumerate((self._images or [])[first:]):
            time = (first + index) / self.rate
            if self.end is not None and time >= self.end:
                return
            if index % self.every:
                continue
            try:
                yield Frame(read_image(path), index, time)
            except DataError as error:
                self.problems.append(str(error))


def _range_faults(every: int, start: float, end: float | None, rate: float) -> list[str]:
    faults = []
    if every < 1:
        faults.append(f"every must be at least 1, got {every}")
    if not 0 <= start < math.inf:
        faults.append(f"start must be 0 seconds or more, got {start:g}")
    if end is not None and not end > start:
        faults.append(f"end must be after start, got {end:g} for a start of {start:g}")
    if not 0 < rate < math.inf:
        faults.append(f"rate must be positive, got {rate:g}")
    return faults


def _images_in(folder: Path) -> list[Path]:
    """The images of a folder, numbers in their names in numeric order."""

    def key(path: Path) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", path.name)
        return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]

    images = [each for each in folder.iterdir() if each.suffix.lower() in IMAGE_SUFFIXES and each.is_file()]
    if not images:
        raise DataError(str(folder), "the folder holds no image", fix=f"files must end in {', '.join(IMAGE_SUFFIXES)}")
    return sorted(images, key=key)
