"""Tables of the check that `det export` prints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from det_core.cli.output import cell, echo

if TYPE_CHECKING:
    from det_export.check import Agreement, Row
    from det_export.quantize import QuantizationReport

__all__ = ["show"]

_COLUMNS = ("image", "size", "detections", "matched", "px", "scores", "masks", "pixels", "ms", "same")


def show(agreement: "Agreement", report: "QuantizationReport | None" = None) -> None:
    """Print the tables of a check, and of the layers of an int8 file."""
    if report is not None:
        _show_layers(report)
    _show_rows(agreement.rows, [*_COLUMNS])
    if agreement.ties:
        echo("scores are equal in places, and compared in the order of the file: lowest index first")
    for problem in dict.fromkeys(row.problem for row in agreement.rows if row.problem):
        echo(problem, err=True)
    echo("detections and milliseconds of the model / of the file, matched by label and overlap;")
    echo(f"largest differences of boxes in pixels and of scores; {agreement.megabytes:.1f} MB")
    if agreement.resizing:
        echo("with resizing in the file, on pictures as they are, which informs and does not decide:")
        _show_rows(agreement.resizing, [*_COLUMNS[:-1]])
    if agreement.unmeasured:
        echo(agreement.unmeasured)
    for name, (expected, actual) in agreement.metrics.items():
        echo(f"{name} on {agreement.images} images: {expected:.4f} of the model, {actual:.4f} of the file")


def _show_rows(rows: "Sequence[Row]", columns: list[str]) -> None:
    table = _table(columns)
    for row in rows:
        figures = (f"{row.matched:.0%}", f"{row.boxes:.0e}", f"{row.scores:.0e}", f"{row.masks:.3f}")
        times = "/".join(f"{each:.0f}" for each in row.milliseconds)
        sizes = (f"{row.size[0]}x{row.size[1]}", f"{row.expected}/{row.actual}")
        cells = (cell(row.image), *sizes, *figures, f"{row.semantic:.1%}", times, "yes" if row.agrees else "NO")
        table.add_row(*cells[: len(columns)])
    _print(table)


def _show_layers(report: "QuantizationReport") -> None:
    table = _table(["layer", "kept", "dB", "outside"])
    for layer in report.layers:
        precision = layer.reason or "int8"
        decibels = f"{layer.decibels:.0f}" if layer.quantized else "-"
        table.add_row(cell(layer.name), precision, decibels, f"{layer.outside:.1%}")
    _print(table)
    echo(f"calibrated on {report.pictures} pictures; output over its error in dB, share of input beyond its range")
    for problem in report.problems():
        echo(f"warning: {problem}", err=True)


def _table(columns: Sequence[str]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in ("image", "layer") else "right", no_wrap=True)
    return table


def _print(table: Any) -> None:
    from rich.console import Console

    Console(highlight=False).print(table)
