"""ByteTrack: association of every detection, those of low scores in a second pass (Zhang et al., 2022)."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from det_core.errors import ConfigError
from det_core.ops import rotated
from det_core.predict import Result
from det_core.structures import Detections
from numpy.typing import NDArray
from torch import Tensor

from det_video.tracking.assignment import assign, iou_matrix
from det_video.tracking.motion import KalmanBoxes

__all__ = ["EMBEDDING", "TRACK_ID", "Association", "ByteTracker", "track_ids", "upright"]

TRACK_ID = "det-video/id"
"""Extra of detections: int64 (N,), the number of the object, from 1."""
EMBEDDING = "det-video/embedding"
"""Extra of detections: float32 (N, D), the appearance of the object."""

_TENTATIVE, _TRACKED, _LOST = 0, 1, 2
_MEMORY = 0.9  # share of the embedding so far in the next one
_DUPLICATE_IOU = 0.85

Array = NDArray[np.float64]
_Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Association:
    """IoUs and distances below which a detection and a track are never the same object.

    Attributes:
        iou: minimum of the IoU, multiplied by the score, in the first pass; 0.2 as published.
        iou_low: minimum of the IoU in the pass of low scores; 0.5 as published.
        iou_tentative: minimum of the product for tracks of one frame.
        distance: maximum of half the cosine distance of embeddings, where there are any; 0.25 as in BoT-SORT.
        near: minimum of the IoU where embeddings count.
        by_class: whether objects keep their class.
    """

    iou: float = 0.2
    iou_low: float = 0.5
    iou_tentative: float = 0.3
    distance: float = 0.25
    near: float = 0.05
    by_class: bool = True


class ByteTracker:
    """Tracks boxes by their overlap with the predicted motion.

    Detections of high scores are assigned to all tracks; then those of low scores, which are often hidden objects, to
    the tracks that are left. A track begins with a detection of a high score, and is confirmed by a second one in the
    next frame; those of the first frame are at once. It is lost for a while before it ends.

    Args:
        high: scores from here take part in the first pass.
        low: scores from here take part in the second pass; others are ignored.
        new: minimum score that begins a track; None: `high` + 0.1.
        lost: frames that a track is kept for without a detection.
        association: thresholds of matches, see `Association`.

    Raises:
        ConfigError: the scores are not in [0, 1] and ascending.
    """

    def __init__(
        self,
        high: float = 0.6,
        low: float = 0.1,
        new: float | None = None,
        lost: float = 30,
        association: Association = Association(),
    ) -> None:
        new = min(high + 0.1, 1.0) if new is None else new
        if not 0 <= low <= high <= new <= 1:
            raise ConfigError("ByteTracker", "needs 0 <= low <= high <= new <= 1", f"got {low}, {high}, {new}")
        if lost < 0:
            raise ConfigError("ByteTracker.lost", "must be 0 frames or more", f"got {lost}")
        self.high, self.low, self.new, self.lost, self.association = high, low, new, lost, association
        self.reset()

    def reset(self) -> None:
        """Forget all tracks, as at a cut; numbers go on."""
        self._motion = KalmanBoxes()
        self._ids, self._labels, self._state = (np.zeros(0, np.int64) for _ in range(3))
        self._idle, self._age = np.zeros(0), np.zeros(0)
        self._embeddings: Array | None = None
        self._started = False
        self._size: tuple[int, int] | None = None
        self._next = getattr(self, "_next", 1)

    def update(self, detections: Detections, steps: float = 1.0) -> Detections:
        """The detections of confirmed tracks, with the extra `TRACK_ID`; others are left out.

        Args:
            detections: detections of the next frame, on the CPU. Another image size than before begins all tracks
                again.
            steps: frame intervals since the frame before; not 1 where frames are left out or the rate varies.
        """
        if self._size not in (None, tuple(detections.size)):
            self.reset()
        self._size = (detections.size[0], detections.size[1])
        frame = _Frame(detections)
        self._motion.predict(steps, self._state == _LOST)
        self._idle += steps
        self._age += steps
        assigned = np.full(len(frame), -1, np.int64)  # the track's number of each detection
        strong, weak = frame.scores >= self.high, (frame.scores >= self.low) & (frame.scores < self.high)
        rule = self.association
        self._pass(frame, assigned, self._state != _TENTATIVE, strong, rule.iou, fused=True)
        fresh = (self._state == _TRACKED) & (self._idle > 0)
        self._pass(frame, assigned, fresh, weak, rule.iou_low, fused=False)
        self._pass(frame, assigned, self._state == _TENTATIVE, strong, rule.iou_tentative, fused=True)
        self._end_tracks()
        confirmed = np.isin(assigned, self._ids[self._state == _TRACKED])
        new = np.flatnonzero((assigned < 0) & (frame.scores >= self.new))
        ids = self._begin(frame, new)
        if not self._started:
            assigned[new], confirmed[new] = ids, True
        self._started = True
        index = torch.from_numpy(np.flatnonzero(confirmed))
        extras = {TRACK_ID: torch.from_numpy(assigned[confirmed])}
        matched = detections[index]
        return replace(matched, extras={**matched.extras, **extras})

    def _pass(
        self, frame: "_Frame", assigned: _Rows, tracks: NDArray[Any], allowed: NDArray[Any], minimum: float, fused: bool
    ) -> None:
        """Assign detections of the mask `allowed` that are free to the tracks of a mask."""
        rows = np.flatnonzero(tracks & (self._idle > 0))
        columns = np.flatnonzero(allowed & (assigned < 0))
        if not len(rows) or not len(columns):
            return
        overlaps = iou_matrix(self._motion.boxes()[rows], frame.boxes[columns])
        values = overlaps * frame.scores[columns] if fused else overlaps
        if self._embeddings is not None and frame.embeddings is not None and fused:
            distance = (1 - self._embeddings[rows] @ frame.embeddings[columns].T) / 2
            similar = (distance <= self.association.distance) & (overlaps >= self.association.near)
            values = np.maximum(values, np.where(similar, 1 - distance, 0))
        if self.association.by_class:
            values = np.where(self._labels[rows][:, None] == frame.labels[columns], values, -1)
        first, second = assign(values, minimum)
        self._match(frame, rows[first], columns[second])
        assigned[columns[second]] = self._ids[rows[first]]

    def _match(self, frame: "_Frame", rows: _Rows, columns: _Rows) -> None:
        self._motion.update(rows, frame.boxes[columns])
        self._state[rows], self._idle[rows] = _TRACKED, 0
        self._labels[rows] = frame.labels[columns]
        if self._embeddings is not None and frame.embeddings is not None:
            mixed = _MEMORY * self._embeddings[rows] + (1 - _MEMORY) * frame.embeddings[columns]
            self._embeddings[rows] = _unit(mixed)

    def _begin(self, frame: "_Frame", columns: _Rows) -> _Rows:
        """Begin tracks with detections; returns their numbers."""
        ids = np.arange(self._next, self._next + len(columns))
        self._next += len(columns)
        self._motion.add(frame.boxes[columns])
        self._ids = np.concatenate([self._ids, ids])
        self._labels = np.concatenate([self._labels, frame.labels[columns]])
        state = np.full(len(columns), _TENTATIVE if self._started else _TRACKED)
        self._state = np.concatenate([self._state, state])
        self._idle, self._age = (np.concatenate([each, np.zeros(len(columns))]) for each in (self._idle, self._age))
        if frame.embeddings is not None:
            before = np.zeros((0, frame.embeddings.shape[1])) if self._embeddings is None else self._embeddings
            self._embeddings = np.concatenate([before, frame.embeddings[columns]])
        return ids

    def _end_tracks(self) -> None:
        """Mark tracks as lost, and remove those lost for long, tentative ones without a match, and duplicates."""
        self._state[(self._state == _TRACKED) & (self._idle > 0)] = _LOST
        keep = (self._idle == 0) | ((self._state == _LOST) & (self._idle <= self.lost))
        lost, tracked = (np.flatnonzero(self._state == state) for state in (_LOST, _TRACKED))
        boxes = self._motion.boxes()
        for row, column in np.argwhere(iou_matrix(boxes[lost], boxes[tracked]) > _DUPLICATE_IOU):
            # A lost track on top of one that is tracked is the same object.
            if self._age[lost[row]] <= self._age[tracked[column]]:
                keep[lost[row]] = False
        self._motion.keep(keep)
        self._ids, self._labels, self._state = self._ids[keep], self._labels[keep], self._state[keep]
        self._idle, self._age = self._idle[keep], self._age[keep]
        if self._embeddings is not None:
            self._embeddings = self._embeddings[keep]


class _Frame:
    """The detections of a frame as arrays."""

    def __init__(self, detections: Detections) -> None:
        self.boxes = upright(detections.boxes).double().numpy()
        self.scores = detections.scores.double().numpy()
        self.labels = detections.labels.numpy()
        embeddings = detections.extras.get(EMBEDDING)
        self.embeddings = None if embeddings is None else _unit(embeddings.double().numpy())

    def __len__(self) -> int:
        return len(self.scores)


def track_ids(result: Result | Detections) -> Tensor:
    """The number of each tracked object, int64 (N,).

    Raises:
        ConfigError: the objects were not tracked.
    """
    detections = result.detections if isinstance(result, Result) else result
    if TRACK_ID not in detections.extras:
        raise ConfigError("track_ids", "these objects are not tracked", fix="give `stream` a tracker, or --track")
    return detections.extras[TRACK_ID]


def upright(boxes: Tensor) -> Tensor:
    """Boxes (N, 4); of rotated ones (N, 5) the smallest upright boxes around them."""
    if boxes.shape[1] == 4:
        return boxes
    corners = rotated.corners(boxes).reshape(-1, 4, 2)
    return torch.cat([corners.amin(1), corners.amax(1)], 1)


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
