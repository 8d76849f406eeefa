"""The folder of a run as data: all readable parts, and a note for each unreadable part."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from det_core.engine import read_scalars
from det_core.engine.checkpoint import read_about
from det_core.engine.run import RunFolder
from det_core.errors import CheckpointError, DetError
from det_core.recipes import yaml as yamlfile

__all__ = ["Run", "find_runs", "read_run"]

_DEPTH = 4


@dataclass(frozen=True)
class Run:
    """One training, as far as its folder can be read.

    Attributes:
        path: folder of the training run.
        tree: resolved recipe as plain data; empty where the file is missing or damaged.
        rows: rows of the logged scalars, in order.
        starts: an entry for each start: command, versions, devices, Git commit.
        metrics: metrics of the best checkpoint, else of the newest evaluation; {} without evaluations.
        metrics_step: the step of `metrics`; None without.
        notes: remarks on missing or damaged files.
    """

    path: Path
    tree: Mapping[str, Any]
    rows: Sequence[Mapping[str, float]]
    starts: Sequence[Mapping[str, Any]]
    metrics: Mapping[str, float]
    metrics_step: int | None
    notes: Sequence[str]

    @property
    def step(self) -> int:
        """The newest step that scalars were written of; 0 where there are none."""
        return int(max((row["step"] for row in self.rows), default=0))

    @property
    def steps(self) -> int | None:
        """Total number of training steps; None if the recipe does not contain it."""
        steps = self.section("train").get("steps")
        return steps if type(steps) is int else None

    @property
    def progress(self) -> str:
        """The progress of the training, such as "finished, 90 steps" or "40 of 90"."""
        if not self.rows:
            return "nothing logged"
        if self.steps is None:
            return f"{self.step} steps"
        return f"finished, {self.step} steps" if self.step >= self.steps else f"{self.step} of {self.steps}"

    @property
    def started(self) -> str:
        """The time of the first start, "" where it is not known."""
        return str(self.starts[0].get("started", ""))[:16].replace("T", " ") if self.starts else ""

    @property
    def headline(self) -> tuple[str, float] | None:
        """The metric that the best checkpoint is chosen by and its value; None where nothing was evaluated."""
        name = self.section("train").get("best_metric")
        if name not in self.metrics:
            name = next(iter(self.metrics), None)
        return None if name is None else (name, self.metrics[name])

    def section(self, name: str) -> Mapping[str, Any]:
        """A section of the recipe; empty where there is none."""
        section = self.tree.get(name)
        return section if isinstance(section, Mapping) else {}

    def last(self, name: str) -> float | None:
        """The newest value of a scalar; None where there is none."""
        return next((row[name] for row in reversed(self.rows) if name in row), None)


def read_run(folder: Path | str) -> Run:
    """Read the folder of a run.

    Raises:
        CheckpointError: there is no such folder, or it holds no run.
    """
    files = RunFolder(Path(folder))
    if not _is_run(files):
        raise _no_run(files.path)
    notes: list[str] = []
    tree = _part(lambda: _tree(files.recipe), files.recipe, notes, {})
    rows = _part(lambda: read_scalars(files.scalars), files.scalars, notes, [])
    starts = _part(lambda: _starts(files.environment), files.environment, notes, [])
    about = _part(lambda: read_about(files.best), files.best, notes, None) if files.best.exists() else None
    metrics, step = _newest(rows)
    if about is not None and about.metrics:
        metrics, step = dict(about.metrics), about.step
    if bad := sorted({name for row in rows for name, value in row.items() if not math.isfinite(value)}):
        notes.append(f"not finite at some steps: {', '.join(bad)}")
    if not files.state.exists():
        notes.append(f"no {files.state.name}: nothing was saved to resume from")
    return Run(files.path, tree, rows, starts, metrics, step, notes)


def find_runs(folder: Path) -> Iterator[Path]:
    """The folders of runs in a folder, itself included, down to four levels; in order of their names.

    Raises:
        CheckpointError: there is no such folder.
    """
    if not folder.is_dir():
        raise _no_run(folder)
    yield from _within(folder, _DEPTH)


def _within(folder: Path, depth: int) -> Iterator[Path]:
    if _is_run(RunFolder(folder)):
        yield folder
        return
    try:
        inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:  # skip folders without read permission
        return
    for path in inner if depth else ():
        yield from _within(path, depth - 1)


def _is_run(files: RunFolder) -> bool:
    return any(file.is_file() for file in (files.recipe, files.scalars, files.state))


def _no_run(path: Path) -> CheckpointError:
    if not path.exists():
        return CheckpointError(str(path), "there is no such folder", fix="det runs list FOLDER lists the runs in one")
    if not path.is_dir():
        return CheckpointError(str(path), "is a file", fix=f"name the folder of the run, such as {path.parent}")
    inner = next(_within(path, _DEPTH), None)
    fix = f"name one of the runs in it, such as {inner}" if inner else "name a folder that det train has written"
    found = f"no {RunFolder(path).recipe.name}, no {RunFolder(path).scalars.name}"
    return CheckpointError(str(path), "holds no run", found, fix)


def _part(read: Any, path: Path, notes: list[str], otherwise: Any) -> Any:
    if not path.exists():
        notes.append(f"no {path.name}")
        return otherwise
    try:
        return read()
    except DetError as error:
        notes.append(str(error))
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"{path.name} cannot be read: {error}")
    return otherwise


def _tree(path: Path) -> Mapping[str, Any]:
    tree = yamlfile.read(path)
    if not isinstance(tree, dict):
        raise CheckpointError(str(path), "is no recipe", f"got a {type(tree).__name__}")
    return tree


def _starts(path: Path) -> list[Mapping[str, Any]]:
    entries = json.loads(path.read_text(encoding="utf-8"))
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _newest(rows: Sequence[Mapping[str, float]]) -> tuple[dict[str, float], int | None]:
    """The metrics of the newest evaluation, without "val/", and its step."""
    for row in reversed(rows):
        if metrics := {name[4:]: value for name, value in row.items() if name.startswith("val/")}:
            return metrics, int(row["step"])
    return {}, None
