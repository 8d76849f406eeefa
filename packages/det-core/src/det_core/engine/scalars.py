"""The numbers of a run, in `scalars.jsonl` (one object per line) and `scalars.csv` (one column per name)."""

import csv
import errno
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from det_safeload.regular import open_regular

from det_core.engine.checkpoint import write_whole
from det_core.errors import CheckpointError

__all__ = ["Scalars", "read_scalars"]


_MOVE = "move the file away; a resumed run goes on without it"


class Scalars:
    """Appends rows of numbers to both files as they come, so that nothing is lost when a run is killed.

    Rows that the disk does not take are kept, and written with a later one.

    Args:
        folder: folder of the two files.
        keep: rows up to this step are kept, later ones (of a run that is being continued) are dropped.
        evaluated: rows of evaluations are kept up to this step only; None: as all others.
    """

    def __init__(self, folder: Path, keep: int = 0, evaluated: int | None = None) -> None:
        self.jsonl, self.csv = folder / "scalars.jsonl", folder / "scalars.csv"
        limits = {True: keep if evaluated is None else evaluated, False: keep}
        rows = read_scalars(self.jsonl) if self.jsonl.exists() else []
        rows = [row for row in rows if row["step"] <= limits[any(name.startswith("val/") for name in row)]]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_whole(self.jsonl, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        self._columns, self._waiting = _columns(rows), list[dict[str, float]]()
        self._rewrite_csv(rows)

    def write(self, step: int, values: Mapping[str, float]) -> str:
        """Add one row; a new name becomes a column. Returns the problem where rows begin to wait for the disk."""
        self._waiting.append({"step": step, **values})
        try:
            _append(self.jsonl, "".join(json.dumps(row) + "\n" for row in self._waiting))
        except OSError as error:
            kept = "the training goes on; rows are kept in memory until they can be written"
            return f"{self.jsonl} cannot be written: {error.strerror}; {kept}" if len(self._waiting) == 1 else ""
        rows, self._waiting = self._waiting, []
        try:
            if all(row.keys() <= set(self._columns) for row in rows):
                text = io.StringIO(newline="")
                csv.DictWriter(text, self._columns).writerows(rows)
                _append(self.csv, text.getvalue())
            else:
                rows = read_scalars(self.jsonl)
                self._columns = _columns(rows)
                self._rewrite_csv(rows)
        except (OSError, CheckpointError):
            self._columns = []  # to be written whole with the next row
        return ""

    def _rewrite_csv(self, rows: Sequence[Mapping[str, float]]) -> None:
        write_whole(self.csv, lambda temporary: self._write_csv(temporary, rows))

    def _write_csv(self, path: Path, rows: Sequence[Mapping[str, float]]) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)


def _append(path: Path, text: str) -> None:
    """Append a text, whole or not at all."""
    data = text.encode()
    with path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            if file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(size)
            raise


def read_scalars(path: Path) -> list[dict[str, float]]:
    """The rows of a `scalars.jsonl`, in order; a last line that was cut off by a crash is left out.

    Raises:
        CheckpointError: the file is not there, or another line is not JSON.
    """
    try:
        lines = _text(path).splitlines()
    except OSError as error:
        raise CheckpointError(str(path), "cannot be read", str(error), "name the scalars.jsonl of a run") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(str(path), "is damaged", str(error), _MOVE) from error
    rows: list[dict[str, float]] = []
    for number, line in enumerate(lines, start=1):
        try:
            row: Any = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise CheckpointError(f"{path}, line {number}", "is not JSON", repr(line[:80]), _MOVE) from error
        except RecursionError as error:
            raise CheckpointError(
                f"{path}, line {number}", "is not a row of numbers", repr(line[:80]), _MOVE
            ) from error
        numbers = isinstance(row, dict) and all(type(value) in (int, float) for value in row.values())
        if not numbers or type(row.get("step")) is not int:
            if number == len(lines):
                break
            raise CheckpointError(f"{path}, line {number}", "is not a row of numbers", repr(line[:80]), _MOVE)
        rows.append(row)
    return rows


def _text(path: Path) -> str:
    with open_regular(path) as file:
        return file.read().decode("utf-8")


def _columns(rows: Sequence[Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(["step", *(name for row in rows for name in row)]))
