"""Tracks in files of the MOTChallenge format, one line per object and frame.

A line is "frame, id, left, top, width, height, score, ...", frames from 1, boxes in pixels. In ground truth, the
seventh number is a flag, and lines with 0 are ignored. Boxes are written as det counts pixels, from 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TextIO

import numpy as np
from det_core.errors import DataError
from det_core.structures import Detections
from numpy.typing import NDArray

from det_video.tracking.tracker import TRACK_ID, upright

__all__ = ["Tracks", "concatenate", "read_mot", "write_frame"]

_LISTED = 5  # faults of a file that an error names
_LARGEST = 1e9


@dataclass(frozen=True, eq=False)
class Tracks:
    """Boxes of objects over frames, one row per object and frame, R rows.

    Attributes:
        frames: number of the frame, from 1, int64 (R,).
        ids: number of the track, int64 (R,).
        boxes: float64 (R, 4), xyxy in pixels.
    """

    frames: NDArray[np.int64]
    ids: NDArray[np.int64]
    boxes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.frames)


def read_mot(path: str | PathLike[str], ground_truth: bool = False) -> Tracks:
    """Read a file.

    Args:
        path: path of the file in MOT format.
        ground_truth: leave out lines whose flag is 0.

    Raises:
        DataError: it cannot be read; the first faults are named with their lines.
    """
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(path), "cannot be read as a MOT file", str(error), "give a text file") from error
    rows: list[list[float]] = []
    faults: list[str] = []
    used: set[tuple[float, float]] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row, fault = _parsed(line)
        if not fault and row[1] >= 0 and (row[0], row[1]) in used:
            fault = f"id {row[1]:.0f} is there twice in frame {row[0]:.0f}"
        if fault:
            faults.append(f"line {number}: {fault}")
            continue
        if ground_truth and len(row) > 6 and row[6] == 0:
            continue
        used.add((row[0], row[1]))
        rows.append(row[:6])
    if faults:
        more = f"; and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
        raise DataError(str(path), "has wrong lines", "; ".join(faults[:_LISTED]) + more, "correct the file")
    values = np.array(rows, np.float64).reshape(-1, 6)
    boxes = np.concatenate([values[:, 2:4], values[:, 2:4] + values[:, 4:6]], 1)
    return Tracks(values[:, 0].astype(np.int64), values[:, 1].astype(np.int64), boxes)


def _parsed(line: str) -> tuple[list[float], str]:
    """The numbers of a line, and why it is wrong or ""."""
    fields = line.replace(",", " ").split()
    if len(fields) < 6:
        return [], f"has {len(fields)} of at least 6 numbers"
    try:
        row = [float(each) for each in fields]
    except ValueError:
        return [], f"is not made of numbers: {line[:60]!r}"
    if not all(abs(each) < _LARGEST for each in row[:6]):
        return [], "has a number that is not finite or too large"
    if row[0] < 1 or row[0] % 1 or row[1] % 1:
        return [], "frame must be an integer from 1, and id an integer"
    if row[4] < 0 or row[5] < 0:
        return [], f"has a negative width or height: {row[4]:g} x {row[5]:g}"
    return row, ""


def write_frame(file: TextIO, frame: int, detections: Detections) -> None:
    """Write the lines of one frame, from 1; id -1 where objects are not tracked."""
    ids = detections.extras.get(TRACK_ID)
    numbers = [-1] * len(detections) if ids is None else ids.tolist()
    boxes, scores = upright(detections.boxes).tolist(), detections.scores.tolist()
    for number, (x0, y0, x1, y1), score in zip(numbers, boxes, scores, strict=True):
        file.write(f"{frame},{number},{x0:.2f},{y0:.2f},{x1 - x0:.2f},{y1 - y0:.2f},{score:.4f},-1,-1,-1\n")


def concatenate(sequences: Sequence[tuple[Tracks, Tracks]]) -> tuple[Tracks, Tracks]:
    """Ground truth and predictions of several films as those of one, without a frame or an id in common.

    Its metrics are those of the whole benchmark, where counts of the sequences are added.
    """
    parts: tuple[list[Tracks], list[Tracks]] = ([], [])
    frame_offset = id_offset = 0
    for pair in sequences:
        for part, tracks in zip(parts, pair, strict=True):
            part.append(Tracks(tracks.frames + frame_offset, tracks.ids + id_offset, tracks.boxes))
        frame_offset += max((int(each.frames.max()) for each in pair if len(each)), default=0)
        id_offset += max((int(each.ids.max()) for each in pair if len(each)), default=0) + 1
    first, second = (
        Tracks(*(np.concatenate([getattr(each, name) for each in part]) for name in ("frames", "ids", "boxes")))
        for part in parts
    )
    return first, second
