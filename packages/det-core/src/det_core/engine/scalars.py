"""The numbers of a run, in `scalars.jsonl` (one object per line) and `scalars.csv` (one column per name)."""

import csv
import json
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

    Args:
        folder: where the two files are.
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
        self._columns = _columns(rows)
        self._rewrite_csv(rows)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add one row; a name that was not seen before becomes a new column."""
        row = {"step": step, **values}
        with self.jsonl.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if row.keys() <= set(self._columns):
            with self.csv.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        else:
            rows = read_scalars(self.jsonl)
            self._columns = _columns(rows)
            self._rewrite_csv(rows)

    def _rewrite_csv(self, rows: Sequence[Mapping[str, float]]) -> None:
        write_whole(self.csv, lambda temporary: self._write_csv(temporary, rows))

    def _write_csv(self, path: Path, rows: Sequence[Mapping[str, float]]) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)


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
