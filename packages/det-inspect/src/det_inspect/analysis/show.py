"""Terminal output of the error analysis of `det eval`."""

from typing import TYPE_CHECKING

from det_core.cli.output import cell, echo

if TYPE_CHECKING:
    from det_inspect.analysis.error_analysis import ErrorAnalysis

__all__ = ["show_error_analysis"]


def show_error_analysis(analysis: "ErrorAnalysis") -> None:
    """Print the cost of each error type, and the issues of format."""
    from rich.console import Console
    from rich.table import Table

    from det_inspect.analysis.error_analysis import WHAT

    for name, errors in {"bbox": analysis.errors, **analysis.errors_in}.items():
        if errors.ap50 is None:
            continue
        table = Table("kind of error", title=f"{WHAT[name].capitalize()}: costs of errors")
        table.add_column("errors", justify="right")
        table.add_column("cost in AP50", justify="right")
        for kind, count in errors.counts.items():
            table.add_row(cell(kind), str(count), f"{errors.costs[kind]:.4f}")
        Console(highlight=False).print(table)
    for each in analysis.issues:
        echo(f"issue: {each}")
