"""The commands of det-densepose; torch is imported when one runs."""

import click

from det_densepose.cli.making import bootstrap, mesh, render
from det_densepose.cli.showing import query, show, texture

__all__ = ["densepose"]


@click.group()
def densepose() -> None:
    """DensePose: draw results, take textures, make meshes, render the synthetic figure."""


for _command in (show, texture, query, mesh, bootstrap, render):
    densepose.add_command(_command)
