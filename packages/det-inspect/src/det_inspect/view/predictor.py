"""Predictions of a model that are computed while a page is open, and stored."""

import hashlib
import json
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from det_core.errors import DataError, DetError

from det_inspect.view.picture_set import PictureSet
from det_inspect.view.predictions import Detection, Predictions, fault_of

if TYPE_CHECKING:
    from det_core.predict import Detector

__all__ = ["ModelPredictions", "drawn_by", "weights_of"]

_LOWEST = 0.05
"""Detections of lower scores are not stored."""
_PICTURES = (".png", ".jpg", ".jpeg")


@dataclass
class ModelPredictions(Predictions):
    """Predictions of a run or a checkpoint for a set, computed in a thread that `want` starts.

    Attributes:
        source: checkpoint, run folder or recipe for `Detector.load`.
        pictures: pictures to predict, in order.
        cache: folder in which predictions are stored.
        device: torch device, None for the best available one.
    """

    source: str = ""
    pictures: PictureSet | None = None
    cache: Path = field(default_factory=Path)
    device: str | None = None

    def __post_init__(self) -> None:
        self._queue: deque[int] = deque()
        self._lock, self._loading = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._detector: Detector | None = None
        self._stopped = False
        self._file = self.cache / f"{_key(self.source)}.jsonl"
        self._ids = {(each.split, each.id): index for index, each in enumerate(self._set.pictures)}
        self._read()
        self.state = "done" if len(self.by_picture) == len(self._set.pictures) else "waiting"

    @property
    def _set(self) -> PictureSet:
        assert self.pictures is not None
        return self.pictures

    @property
    def drawable(self) -> bool:
        """True: the model is there."""
        return True

    def want(self, pictures: Sequence[int]) -> None:
        """Predict these pictures next, then all others."""
        with self._lock:
            self._queue.extendleft(reversed([each for each in pictures if each not in self.by_picture]))
            if self._thread is None and not self._stopped:
                self._queue.extend(index for index in range(len(self._set.pictures)) if index not in self.by_picture)
                self.state = "loading the model"
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def detector(self) -> "Detector":
        """The loaded model."""
        from det_core.predict import Detector

        with self._loading:
            if self._detector is None:
                self._detector = Detector.load(self.source, device=self.device)
            return self._detector

    def close(self) -> None:
        """End the thread after its current picture."""
        self._stopped = True
        if self._thread is not None:
            self._thread.join(30)

    def _run(self) -> None:
        try:
            detector = self.detector()
            self._report_classes(detector)
            while not self._stopped:
                with self._lock:
                    if not self._queue:
                        break
                    index = self._queue.popleft()
                if index not in self.by_picture:
                    self._predict(detector, index)
                    self.state = f"{len(self.by_picture)} of {len(self._set.pictures)}"
            self.state = "done" if len(self.by_picture) == len(self._set.pictures) else self.state
        except Exception as error:
            # A model may raise anything, and a dead thread would leave the page waiting.
            self.state = f"failed: {error}" if isinstance(error, DetError) else f"failed: {error!r}"

    def _predict(self, detector: "Detector", index: int) -> None:
        picture = self._set.pictures[index]
        try:
            result = detector(picture.path, threshold=_LOWEST)
        except DataError:  # the page shows why the picture cannot be read
            self.put(index, [])
            return
        records = [] if result.prediction.detections is None else result.to_coco(picture.id)
        names = dict(zip(detector.category_ids, detector.classes, strict=True))
        named = [{**each, "class": names[each["category_id"]]} for each in records]
        self.put(index, self._detections(named))
        line = json.dumps({"split": picture.split, "id": picture.id, "results": named})
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            if not any("cannot be stored" in note for note in self.notes):
                self.notes.append(f"predictions cannot be stored: {error}")

    def _read(self) -> None:
        """Stored predictions; a line that was cut off is left out."""
        try:
            lines = self._file.read_text("utf-8").splitlines()
        except OSError:
            return
        for line in lines:
            try:
                entry = json.loads(line)
                index = self._ids.get((entry["split"], entry["id"]))
                if index is not None:
                    self.put(index, self._detections(entry["results"]))
            except (ValueError, TypeError, KeyError):
                continue

    def _detections(self, records: Sequence[dict[str, Any]]) -> list[Detection]:
        label_of = {name: label for label, name in enumerate(self._set.classes)}
        named = [each for each in records if each["class"] in label_of]
        ids = {each["image_id"]: 0 for each in named}
        usable = [each for each in named if not fault_of(each, ids, {each["category_id"]: 0})]
        return [Detection(label_of[each["class"]], float(each["score"]), each) for each in usable]

    def _report_classes(self, detector: "Detector") -> None:
        if missing := [name for name in detector.classes if name not in self._set.classes]:
            self.notes.append(f"classes that the data set does not have: {', '.join(missing[:10])}")


def drawn_by(detector: "Detector", path: Path, writer: str, score: float) -> bytes:
    """A picture with the predictions that a writer of `det predict --save` draws.

    Args:
        detector: detector that predicts the picture.
        path: path of the picture's file.
        writer: name of a writer such as "png".
        score: minimum score of drawn detections.

    Raises:
        DataError: the picture cannot be read, or the writer writes no picture.
        UnknownNameError: there is no such writer.
    """
    from det_core.plugins import registry
    from det_core.predict.writers import ImageName, build_writer

    make = registry.find("writers", writer).load()
    with tempfile.TemporaryDirectory() as folder:
        built = build_writer(make, Path(folder), {"labels": True})
        built.write(detector(path, threshold=score), ImageName(1, path.name, "picture.png", str(path)))
        built.finish()
        files = sorted(each for each in Path(folder).rglob("*") if each.suffix.lower() in _PICTURES)
        if not files:
            raise DataError(f"writer {writer}", f"draws no picture of {path.name}", fix="choose another drawing")
        return files[0].read_bytes()


def weights_of(source: Path) -> Path:
    """The file of weights of a run or a checkpoint."""
    from det_core.engine import RunFolder

    return RunFolder(source).newest_good if source.is_dir() else source


def _key(source: str) -> str:
    """A name that changes with the weights."""
    path = weights_of(Path(source))
    try:
        about = path.stat()
        text = f"{path.resolve()}|{about.st_mtime_ns}|{about.st_size}|{_LOWEST}"
    except OSError:
        text = f"{path}|{_LOWEST}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
