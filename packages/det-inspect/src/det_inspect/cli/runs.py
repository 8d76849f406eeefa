"""`det runs`: the folders of trainings."""

import math
from pathlib import Path

import click
from det_core.cli.output import cell, echo

from det_inspect.counting import counted

__all__ = ["command"]

_PATH = click.Path(path_type=Path)
_LONG = 70


@click.group()
def command() -> None:
    """List, show and compare training runs."""


@command.command("list")
@click.argument("folder", type=_PATH, default="runs", metavar="[FOLDER]")
def list_runs(folder: Path) -> None:
    """List the runs in FOLDER (default: runs): progress, loss and best metric of each.

    \b
    Example:
      det runs list runs
    """
    from det_inspect.runs.reading import find_runs, read_run

    runs = [read_run(path) for path in find_runs(folder)]
    if not runs:
        echo(f"{folder}: no runs; det train --output {folder / 'NAME'} makes one.")
        return
    rows = []
    for run in sorted(runs, key=lambda run: run.started):
        name = run.path.name if run.path == folder else str(run.path.relative_to(folder))
        best = f"{run.headline[0]} {_number(run.headline[1])}" if run.headline else "-"
        rows.append([name, run.progress, _number(run.last("loss")), best, run.started or "-"])
    _table(["run", "steps", "loss", "best", "started"], rows)


@command.command(short_help="Show one run: its recipe, starts, evaluations and files.")
@click.argument("run", type=_PATH, metavar="RUN")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw its curves there.")
def show(run: Path, plot: Path | None) -> None:
    """Show one run: its recipe, starts, evaluations and files, and missing or damaged files.

    \b
    Example:
      det runs show runs/cells --plot curves.png
    """
    from det_core.printable import printable

    from det_inspect.runs.picture import plot_comparison
    from det_inspect.runs.reading import read_run

    record = read_run(run)
    model, summary = record.section("model").get("type", "?"), str(record.tree.get("summary") or "")
    _facts({"run": str(run), "recipe": summary, "model": str(model), "steps": record.progress})
    for start in record.starts:
        commit = start["git"].get("commit") if isinstance(start.get("git"), dict) else None
        words = start.get("command")
        text = " ".join(map(str, words)) if isinstance(words, list) else ""
        code = f", commit {str(commit)[:10]}" if commit else ""
        processes = counted(start.get("processes", 1), "process", "processes")
        _facts({"started": f"{start.get('started', '?')}, {processes}{code}: {text}"})
    if record.headline:
        name, value = record.headline
        _facts({"best": f"{name} {_number(value)} at step {record.metrics_step}"})
    evaluated = [row for row in record.rows if any(name.startswith("val/") for name in row)]
    names = list(dict.fromkeys(name for row in evaluated for name in row if name.startswith("val/")))[:6]
    if evaluated:
        rows = [[str(row["step"]), *(_number(row.get(name)) for name in names)] for row in evaluated[-20:]]
        _table(["step", *(name.removeprefix("val/") for name in names)], rows)
    files = sorted(path for path in record.path.iterdir() if path.is_file() and not path.name.startswith("."))
    _facts({"files": ", ".join(f"{path.name} ({_size(path.stat().st_size)})" for path in files)})
    for note in record.notes:
        echo(f"note: {printable(note)}")
    if plot is not None:
        echo(f"curves: {plot_comparison([record], plot)}")


@command.command(short_help="Compare runs: metrics, the settings that differ, and curves.")
@click.argument("runs", type=_PATH, nargs=-1, required=True, metavar="A B ...")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw all curves there.")
def compare(runs: tuple[Path, ...], plot: Path | None) -> None:
    """Compare runs: metrics of their best weights, the settings that differ, and curves over one another.

    \b
    Example:
      det runs compare runs/first runs/second --plot curves.png
    """
    from det_inspect.runs.comparison import differing_settings, labels, metrics_table
    from det_inspect.runs.picture import plot_comparison
    from det_inspect.runs.reading import read_run

    if len(runs) < 2:
        raise click.UsageError("name two runs or more; det runs show RUN is for one.")
    records = [read_run(path) for path in runs]
    names = labels(records)
    rows = [["steps", *(run.progress for run in records)]]
    rows += [[name, *map(_number, values)] for name, values in metrics_table(records)]
    _table(["metric", *names], rows)
    settings, notes = differing_settings(records)
    if settings:
        _table(["setting", *names], [[path, *(map(_short, values))] for path, values in settings])
    elif not notes:
        echo("The settings are the same.")
    for run, name in zip(records, names, strict=True):
        notes += [f"{name}: {note}" for note in run.notes]
    for note in notes:
        echo(f"note: {note}")
    if plot is not None:
        echo(f"curves: {plot_comparison(records, plot)}")


def _facts(lines: dict[str, str]) -> None:
    for name, text in lines.items():
        if text:
            echo(f"{name}: {text}")


def _table(columns: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(columns):
        table.add_column(cell(name), overflow="fold", no_wrap=not number)
    for row in rows:
        table.add_row(*map(cell, row))
    wide = Console()
    Console(width=None if wide.is_terminal else 160).print(table)
    echo()


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if math.isfinite(value) else str(float(value))


def _short(text: str) -> str:
    return text if len(text) <= _LONG else text[: _LONG - 3] + "..."


def _size(count: int) -> str:
    units = ("B", "kB", "MB", "GB")
    power = min(int(math.log(max(count, 1), 1000)), len(units) - 1)
    return f"{count / 1000**power:.3g} {units[power]}"
