"""`det video`: the group of the commands for videos."""

import click

__all__ = ["command"]


@click.group(short_help="Predict and track objects in videos, and evaluate tracks.")
def command() -> None:
    """Predict and track objects in videos, and evaluate tracks."""
