"""Defects of `det data check`, found in a thread, by picture."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from det_inspect.datasets.check import check
from det_inspect.datasets.report import Defect
from det_inspect.view.picture_set import PictureSet

__all__ = ["Defects"]

_MOST_TEXTS = 200


class Defects:
    """Checks the files of a set in a thread, which `start` begins.

    Args:
        pictures: pictures whose annotations are checked.
        pixels: decode all pictures, which also finds damage and copies; else read their heads.
    """

    def __init__(self, pictures: PictureSet, pixels: bool = False) -> None:
        self._set, self._pixels = pictures, pixels
        self._lock, self._started = threading.Lock(), False
        self._stopped = threading.Event()
        self._index = {picture.path: index for index, picture in reversed([*enumerate(pictures.pictures)])}
        self.state, self.checked = "waiting", 0
        self.by_picture: dict[int, list[Defect]] = {}
        self.others: list[Defect] = []

    def start(self) -> None:
        """Begin, the first time."""
        with self._lock:
            if not self._started:
                self._started, self.state = True, "checking"
                threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """End the check."""
        self._stopped.set()

    def summary(self) -> dict[str, Any]:
        """State, progress, number of defects of each kind, and defects that belong to no picture."""
        counts = Counter(defect.kind for each in (*self.by_picture.values(), self.others) for defect in each)
        return {
            "state": self.state,
            "checked": self.checked,
            "kinds": dict(counts.most_common()),
            "others": [f"{each.kind}: {each.text}" for each in self.others[:_MOST_TEXTS]],
        }

    def pictures_with(self, kind: str) -> set[int]:
        """Pictures that have a defect of a kind, or of any with "any"."""
        return {
            index
            for index, defects in self.by_picture.items()
            if kind == "any" or any(defect.kind == kind for defect in defects)
        }

    def _run(self) -> None:
        try:
            sources = {split: (lambda each=listing: each) for split, listing in self._set.listings.items()}
            report = check(sources, self._pixels, self._track)
        except Exception as error:
            # A dead thread would leave the page waiting.
            self.state = "stopped" if self._stopped.is_set() else f"failed: {type(error).__name__}: {error}"
            return
        by_picture: dict[int, list[Defect]] = {}
        others = []
        for defect in report.defects:
            index = self._place(defect)
            if index is None:
                others.append(defect)
            else:
                by_picture.setdefault(index, []).append(defect)
        self.by_picture, self.others, self.state = by_picture, others, "done"

    def _place(self, defect: Defect) -> int | None:
        index = None if defect.image is None else self._index.get(defect.image)
        return self._index.get(Path(defect.file)) if index is None else index

    def _track(self, items: Iterable[Any], count: int, name: str) -> Iterator[Any]:
        for item in items:
            if self._stopped.is_set():
                raise InterruptedError("the server was stopped")
            yield item
            self.checked += 1
