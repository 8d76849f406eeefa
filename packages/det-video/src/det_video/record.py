"""The detections of the frames that were predicted, on disk: an interrupted run goes on after the last of them.

The file has a line of JSON with the settings, then one for each frame, written when it is predicted, and a last one
when the video has ended. Numbers are written with all digits, so that what is computed from them is the same again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from det_core.errors import DataError
from det_core.evaluation.coco_results import decode_masks, encode_masks
from det_core.structures import Detections, Prediction

from det_video.frames import Frame
from det_video.stream import FrameResult
from det_video.tracking.tracker import EMBEDDING

__all__ = ["FILE", "Record"]

FILE = "frames.jsonl"
_END = {"end": True}


class Record:
    """The file `frames.jsonl` in a folder.

    Args:
        folder: folder of the run; it need not exist.

    Attributes:
        settings: settings of the run that began the record; {} for a new one.
        count: number of frames recorded so far.
        complete: all frames of the video are recorded.

    Raises:
        DataError: the folder holds files, but no record of a run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / FILE
        self.settings: dict[str, Any] = {}
        self.count, self.complete = 0, False
        if self._path.is_file():
            self._scan()
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            fix = "choose a new or an empty folder"
            raise DataError(str(folder), "holds files that no prediction of a video wrote", fix=fix)

    def _scan(self) -> None:
        """Read the settings, count the frames, and cut off a line that was not finished."""
        with self._path.open("rb+") as file:
            end = 0
            for line in file:
                entry = _parsed(line)
                if entry is None:
                    break
                if "settings" in entry:
                    self.settings = entry["settings"]
                elif entry == _END:
                    self.complete = True
                else:
                    self.count += 1
                end += len(line)
            if not self.settings:
                fix = "choose a new or an empty folder"
                raise DataError(str(self._path), "is no record of a prediction of a video", fix=fix)
            file.truncate(end)

    def differences(self, settings: Mapping[str, Any]) -> list[str]:
        """How settings differ from the recorded ones."""
        if not self.settings:
            return []
        names = [name for name in settings if settings[name] != self.settings.get(name)]
        if self.settings.get("low_scores"):
            names = [name for name in names if name != "low_scores"]  # more are recorded than are needed
        return [f"{name} was {self.settings.get(name)}, and is {settings[name]} now" for name in names]

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Write the settings of a new run, or keep those that are there."""
        if not self.settings:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.settings = dict(settings)
            self._append({"settings": self.settings})

    def results(self, frames: Iterable[Frame], predict: Any) -> Iterator[FrameResult]:
        """The result of each frame: from the record as far as it goes; `predict(frames)` gives the others.

        Raises:
            DataError: the frames are not those that were recorded.
        """
        frames = iter(frames)
        for frame, entry in zip(islice(frames, self.count), self._entries(), strict=False):
            if entry.get("index") != frame.index or tuple(entry.get("size", ())) != tuple(frame.image.shape[1:]):
                fix = "choose another folder"
                raise DataError(str(self._path), "was written for other frames", f"frame {frame.index}", fix)
            yield self._result(frame, _decoded(entry))
        if self.complete:
            return
        for result in predict(frames):
            entry = _encoded(result)
            self._append(entry)
            # Also now by way of the entry: what an interrupted run writes in the end is the same.
            yield self._result(Frame(result.image, result.index, result.time), _decoded(entry))
        self._append(_END)
        self.complete = True

    def _result(self, frame: Frame, detections: Detections) -> FrameResult:
        classes, ids = (tuple(self.settings[name]) for name in ("classes", "category_ids"))
        prediction = Prediction(detections=detections)
        return FrameResult(frame.image, prediction, classes, ids, index=frame.index, time=frame.time)

    def _entries(self) -> Iterator[dict[str, Any]]:
        with self._path.open("rb") as file:
            for line in islice(file, 1, None):
                entry = _parsed(line)
                if entry is not None and entry != _END:
                    yield entry

    def _append(self, entry: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The entry of a complete line; None of another one."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _encoded(result: FrameResult) -> dict[str, Any]:
    detections = result.detections
    entry: dict[str, Any] = {"index": result.index, "time": result.time, "size": list(detections.size)}
    for name in ("boxes", "scores", "labels"):
        entry[name] = getattr(detections, name).tolist()
    if detections.boxes.shape[1] == 5:
        entry["rotated"] = True
    if detections.masks is not None:
        entry["masks"] = encode_masks(detections.masks, detections.boxes, detections.size)
    if detections.keypoints is not None:
        entry["keypoints"] = detections.keypoints.tolist()
        entry["points"] = detections.keypoints.shape[1]
    if EMBEDDING in detections.extras:
        entry["embedding"] = detections.extras[EMBEDDING].tolist()
    return entry


def _decoded(entry: Mapping[str, Any]) -> Detections:
    count = len(entry["scores"])
    size = (entry["size"][0], entry["size"][1])
    extras = {}
    if entry.get("embedding"):
        extras[EMBEDDING] = torch.tensor(entry["embedding"], dtype=torch.float32)
    keypoints = entry.get("keypoints")
    return Detections(
        boxes=torch.tensor(entry["boxes"], dtype=torch.float32).reshape(count, 5 if entry.get("rotated") else 4),
        scores=torch.tensor(entry["scores"], dtype=torch.float32),
        labels=torch.tensor(entry["labels"], dtype=torch.int64),
        size=size,
        masks=decode_masks(entry["masks"], size) if "masks" in entry else None,
        keypoints=None if keypoints is None else torch.tensor(keypoints).reshape(count, entry["points"], 3),
        extras=extras,
    )
