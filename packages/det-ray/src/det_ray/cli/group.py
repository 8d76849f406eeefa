"""`det ray`: the group of the commands for clusters."""

import click

__all__ = ["command"]


@click.group(short_help="Predict and evaluate millions of images on many machines.")
def command() -> None:
    """Predict and evaluate millions of images on many machines, with Ray."""
