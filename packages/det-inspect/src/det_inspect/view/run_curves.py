"""Curves and sample pictures of runs, read again when their files change."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from det_core.engine import RunFolder

from det_inspect.runs.comparison import labels
from det_inspect.runs.reading import Run, read_run

__all__ = ["Runs"]

_POINTS, _SERIES, _SAMPLES = 1000, 100, 50
_SAMPLE = re.compile(r"\d{1,12}\.jpg")


class Runs:
    """The runs of a session.

    Args:
        folders: folder of each training run.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = list(folders)
        self._read: dict[Path, tuple[Any, Run]] = {}

    def content(self) -> list[dict[str, Any]]:
        """Name, progress, metrics, notes, curves and names of sample pictures of each run."""
        runs = [self._run(folder) for folder in self._folders]
        return [
            {
                "name": name,
                "progress": run.progress,
                "started": run.started,
                "metrics": {key: _finite(value) for key, value in run.metrics.items()},
                "notes": list(run.notes),
                "curves": _curves(run.rows),
                "samples": [path.name for path in self._samples(run.path)],
            }
            for run, name in zip(runs, labels(runs), strict=True)
        ]

    def sample(self, run: int, name: str) -> Path | None:
        """The file of a sample picture; None if there is none of this name."""
        if not 0 <= run < len(self._folders):
            return None
        return next((path for path in self._samples(self._folders[run]) if path.name == name), None)

    def _run(self, folder: Path) -> Run:
        stamp = _stamp(RunFolder(folder).scalars)
        if folder not in self._read or self._read[folder][0] != stamp:
            self._read[folder] = stamp, read_run(folder)
        return self._read[folder][1]

    def _samples(self, folder: Path) -> list[Path]:
        """Newest sample pictures, in order."""
        try:
            files = [path for path in (folder / "predictions").iterdir() if _SAMPLE.fullmatch(path.name)]
        except OSError:
            return []
        return sorted(path for path in files if path.is_file() and not path.is_symlink())[-_SAMPLES:]


def _stamp(path: Path) -> Any:
    try:
        about = path.stat()
        return about.st_mtime_ns, about.st_size
    except OSError:
        return None


def _curves(rows: Sequence[Mapping[str, float]]) -> dict[str, list[list[float]]]:
    """[[step, value], ...] of each scalar, at most 1000 points with the last one; non-finite values are left out."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != "step"))[:_SERIES]
    curves = {}
    for name in names:
        points = [[row["step"], row[name]] for row in rows if name in row and math.isfinite(row[name])]
        step = max(1, math.ceil(len(points) / _POINTS))
        curves[name] = points[: len(points) - 1 : step] + points[-1:]
    return curves


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
