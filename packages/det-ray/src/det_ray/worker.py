"""The worker of `det ray predict`: it keeps one model, and turns blocks of images into files."""

import json
import os
import resource
import socket
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from det_core.errors import CheckpointError, ConfigError, DataError, DetError, DetWarning
from numpy.typing import NDArray

from det_ray.folder import RunFolder, take_rows, write_whole
from det_ray.journal import Journal
from det_ray.plan import Block, fingerprint
from det_ray.reading import Picture, pictures
from det_ray.rows import failed_row, row_of, summarize, table_of
from det_ray.sources import Entry

if TYPE_CHECKING:
    from det_core.predict import Detector, Result

__all__ = ["PredictWorker", "Worker", "load_detector"]

_PIXELS = 2**26  # of the images that are in memory, and sorted by size, at a time
_WINDOW = 4  # batches that are sorted by size at a time
_EXAMPLE_SIDE = 480  # pixels
_MODEL_FAILS = "the model fails"


def load_detector(options: Mapping[str, Any]) -> "Detector":
    """The detector that the options `model`, `weights`, `device` and `trust` describe; errors of `Detector.load`."""
    from det_core.predict import Detector

    return Detector.load(options["model"], options["weights"], options["device"], trust=options["trust"])


class Worker:
    """Base of workers: calls `process` for each block, and returns errors as data, so that none ends in a retry.

    Args:
        folder: of the run.
        options: what `load` needs.
    """

    def __init__(self, folder: str, options: Mapping[str, Any]) -> None:
        self.folder, self.options = RunFolder(Path(folder)), options
        self._fault = ""
        try:
            self.load()
        except Exception as error:  # in an actor it would be a retry, or a traceback of the cluster's
            self._fault = _sentence(error)

    def load(self) -> None:
        """Load the model."""
        raise NotImplementedError

    def process(self, block: Block, entries: Sequence[Entry]) -> dict[str, Any]:
        """Commit a block; returns its summary."""
        raise NotImplementedError

    def require_same(self, detector: "Detector") -> None:
        """CheckpointError unless it is the model of the plan."""
        if fingerprint(detector) != self.options["sha256"]:
            problem = f"is another model on {socket.gethostname()} than where the run began"
            raise CheckpointError(self.options["model"], problem, fix="put the same file on all machines")

    @staticmethod
    def stamp(block: Block, began: float) -> dict[str, Any]:
        """What the summary of each block has: its number, which worker made it, when, how long, and its peak memory."""
        worker = f"{socket.gethostname()}-{os.getpid()}"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        times = {"began": began, "seconds": time.time() - began}
        return {"block": block.number, "worker": worker, **times, "peak_mb": round(peak)}

    def __call__(self, batch: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.object_]]:
        """The summary of each block as JSON; {"fault": reason} where a run has to stop."""
        blocks = [Block(*map(int, each)) for each in zip(batch["number"], batch["first"], batch["count"], strict=True)]
        return {"summary": np.array([json.dumps(self._answer(block)) for block in blocks], dtype=object)}

    def _answer(self, block: Block) -> dict[str, Any]:
        if self._fault:
            return {"fault": self._fault}
        try:
            if self.folder.block(block.number).exists():  # by a worker that died before it could answer
                return self.folder.summary(block.number)
            listed = take_rows(self.folder.path / "plan.parquet", block.first, block.count)
            entries = [Entry(row["name"], row["first"], row["count"]) for row in listed]
            return self.process(block, entries)
        except (DetError, OSError, MemoryError) as error:
            return {"fault": _sentence(error)}
        except Exception as error:
            return {"fault": f"block {block.number}: {type(error).__name__}: {error}"}


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the folder of the run'}: {error.strerror}"
    return str(error) if isinstance(error, DetError) else f"{type(error).__name__}: {error}"


class PredictWorker(Worker):
    """Predicts the images of blocks, and writes their rows.

    Args:
        folder: of the run.
        options: model, weights, device, trust, sha256 (of the model), threshold, batch, threads, column, versions, and
            examples (the blocks of which a picture is drawn).
    """

    def load(self) -> None:
        """Load the model, which has to be that of the plan."""
        import torch

        torch.set_num_threads(self.options["threads"])
        self._detector = load_detector(self.options)
        self.require_same(self._detector)

    def process(self, block: Block, entries: Sequence[Entry]) -> dict[str, Any]:
        """Predict all images of a block and commit their rows."""
        began, batch = time.time(), self.options["batch"]
        journal = Journal(self.folder.journals / f"{block.number:08d}.txt")
        self._example: Result | None = None
        threads, ahead = (1, 1) if journal.careful else (max(2, self.options["threads"]), 2 * batch + 2)
        rows: list[dict[str, Any]] = []
        read = pictures(entries, self.options["column"], threads, ahead, journal)
        for window in _windows(read, 1 if journal.careful else _WINDOW * batch):
            rows += self._rows_of(window)
        self._require_one_result(rows)
        if self._example is not None and block.number in self.options["examples"]:
            self._draw(block.number, self._example)
        summary = {
            **summarize(rows, self._detector.classes),
            **self.stamp(block, began),
        }
        self.folder.write_block(block.number, table_of(rows, self.options["sha256"], self.options["versions"]), summary)
        journal.finish()
        return summary

    def _rows_of(self, window: Sequence[Picture]) -> list[dict[str, Any]]:
        """The row of each image; those of similar size are predicted together, which saves padding."""
        rows: dict[int, dict[str, Any]] = {}
        sizes: dict[int, tuple[int, ...]] = {}
        for index, picture in enumerate(window):
            if isinstance(picture.pixels, DataError):
                rows[index] = failed_row(picture.name, picture.sha256, picture.pixels)
            else:
                sizes[index] = tuple(picture.pixels.shape)
        order = sorted(sizes, key=lambda index: (sizes[index], index))
        batch = self.options["batch"]
        for start in range(0, len(order), batch):
            chunk = order[start : start + batch]
            rows |= zip(chunk, self._predicted([window[index] for index in chunk]), strict=True)
        return [rows[index] for index in range(len(window))]

    def _predicted(self, chunk: Sequence[Picture]) -> list[dict[str, Any]]:
        """The rows of a batch; where it fails, each image is predicted by itself."""
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", DetWarning)
                images = [picture.pixels for picture in chunk if not isinstance(picture.pixels, DataError)]
                results = self._detector(images, self.options["threshold"], len(images))
            reason = next((str(each.message) for each in caught if issubclass(each.category, DetWarning)), "")
        except ConfigError:
            raise
        except Exception as error:
            reason = f"{_MODEL_FAILS}: {type(error).__name__}: {error}"
        if reason and len(chunk) > 1:
            return [row for picture in chunk for row in self._predicted([picture])]
        if reason:
            return [failed_row(chunk[0].name, chunk[0].sha256, reason.removeprefix("image: "))]
        for result in results:
            if self._example is None or (not len(self._example) and len(result)):
                self._example = result
        return [row_of(each.name, each.sha256, result) for each, result in zip(chunk, results, strict=True)]

    def _require_one_result(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Raise DataError if the model fails at each image that can be read: it is at fault, and not the images."""
        failures = [row["error"] for row in rows if (row.get("error") or "").startswith(_MODEL_FAILS)]
        if failures and not any(row.get("error") is None for row in rows):
            raise DataError(self.options["model"], "fails at every image of a block", failures[0])

    def _draw(self, number: int, result: "Result") -> None:
        picture = result.plot()
        picture.thumbnail((_EXAMPLE_SIDE, _EXAMPLE_SIDE))
        with suppress(ValueError):
            path = self.folder.examples / f"{number:08d}.jpg"
            write_whole(path, lambda file: picture.convert("RGB").save(file, "JPEG", quality=85))


def _windows(read: Iterable[Picture], most: int) -> Iterator[list[Picture]]:
    """Lists of up to `most` images, or fewer of many pixels."""
    window: list[Picture] = []
    count = 0
    for picture in read:
        window.append(picture)
        count += 0 if isinstance(picture.pixels, DataError) else picture.pixels[0].numel()
        if len(window) >= most or count >= _PIXELS:
            yield window
            window, count = [], 0
    if window:
        yield window
