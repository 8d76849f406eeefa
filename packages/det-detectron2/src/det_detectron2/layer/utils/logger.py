"""Logging, as `detectron2.utils.logger`."""

import functools
import logging
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

__all__ = ["create_small_table", "log_every_n", "log_every_n_seconds", "log_first_n", "setup_logger"]

_COUNTS: Counter[tuple[str, int]] = Counter()
_TIMES: dict[tuple[str, int], float] = {}

# Messages of the layer go where those of "detectron2" go, with its level.
logging.getLogger("det_detectron2.layer").parent = logging.getLogger("detectron2")


@functools.lru_cache
def setup_logger(
    output: str | None = None,
    distributed_rank: int = 0,
    *,
    color: bool = True,
    name: str = "detectron2",
    abbrev_name: str | None = None,
) -> logging.Logger:
    """A logger that writes to stdout in rank 0, and to a file for each process.

    Args:
        output: path of a .txt or .log file, or of a folder for log.txt; None for no file.
        distributed_rank: rank of this process.
        color: accepted for compatibility; messages are not colored.
        name: name of the logger.
        abbrev_name: abbreviation of the name in messages; by default "d2" for "detectron2".
    """
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    short = {"detectron2": "d2"}.get(name, name) if abbrev_name is None else abbrev_name
    form = logging.Formatter(f"[%(asctime)s {short}]: %(levelname)s %(message)s", datefmt="%m/%d %H:%M:%S")
    handlers: list[logging.Handler] = [logging.StreamHandler(stream=sys.stdout)] if distributed_rank == 0 else []
    if output is not None:
        path = Path(output) if output.endswith((".txt", ".log")) else Path(output) / "log.txt"
        path = path.with_name(f"{path.name}.rank{distributed_rank}") if distributed_rank > 0 else path
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path))
    for handler in handlers:
        handler.setLevel(logging.DEBUG)
        handler.setFormatter(form)
        logger.addHandler(handler)
    return logger


def _caller() -> tuple[str, int]:
    frame = sys._getframe(2)
    return frame.f_code.co_filename, frame.f_lineno


def log_first_n(
    lvl: int, msg: str, n: int = 1, *, name: str | None = None, key: str | tuple[str, ...] = "caller"
) -> None:
    """Log the first `n` times that this line, or with `key` "message" this message, comes by."""
    place = (msg, 0) if "message" in key else _caller()
    _COUNTS[place] += 1
    if _COUNTS[place] <= n:
        logging.getLogger(name or sys._getframe(1).f_globals.get("__name__")).log(lvl, msg)


def log_every_n(lvl: int, msg: str, n: int = 1, *, name: str | None = None) -> None:
    """Log each n-th time that this line comes by, the first included."""
    place = _caller()
    _COUNTS[place] += 1
    if n == 1 or _COUNTS[place] % n == 1:
        logging.getLogger(name or sys._getframe(1).f_globals.get("__name__")).log(lvl, msg)


def log_every_n_seconds(lvl: int, msg: str, n: int = 1, *, name: str | None = None) -> None:
    """Log at most once in `n` seconds from this line."""
    place, now = _caller(), time.time()
    if now - _TIMES.get(place, 0.0) >= n:
        logging.getLogger(name or sys._getframe(1).f_globals.get("__name__")).log(lvl, msg)
        _TIMES[place] = now


def create_small_table(small_dict: Mapping[str, object]) -> str:
    """Names above their values, as text."""
    cells = [(name, f"{value:.3f}" if isinstance(value, float) else str(value)) for name, value in small_dict.items()]
    widths = [max(map(len, cell)) for cell in cells]
    lines = [" | ".join(cell[row].center(width) for cell, width in zip(cells, widths, strict=True)) for row in (0, 1)]
    return "\n".join(
        [f"| {lines[0]} |", "|" + "|".join(":" + "-" * width + ":" for width in widths) + "|", f"| {lines[1]} |"]
    )
