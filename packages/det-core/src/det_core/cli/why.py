"""What `det eval` says of the reasons for its figures."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from det_core.evaluation.diagnosis import Diagnosis

__all__ = ["show_diagnosis"]


def show_diagnosis(why: "Diagnosis") -> None:
    """Print what each kind of error costs, and what is suspicious."""
    from rich.console import Console
    from rich.table import Table

    if why.errors.ap50 is not None:
        table = Table("kind of error", title="Boxes: what errors cost")
        table.add_column("errors", justify="right")
        table.add_column("cost in AP50", justify="right")
        for kind, count in why.errors.counts.items():
            table.add_row(kind, str(count), f"{why.errors.costs[kind]:.4f}")
        Console(highlight=False).print(table)
    for each in why.suspicions:
        click.echo(f"suspicious: {each}")
