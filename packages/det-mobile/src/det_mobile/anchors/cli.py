"""`det anchors`: sizes and aspect ratios of anchors that fit a dataset."""

import json
import math
from typing import Any

import click
from det_core.errors import DetError

__all__ = ["anchors"]


class _Command(click.Command):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DetError as error:
            raise click.ClickException(str(error)) from error


@click.command("anchors", cls=_Command)
@click.argument("data")
@click.option("--count", default=5, show_default=True, help="Anchors to find.")
@click.option("--short", type=int, help="Scale images to this short side first, as training would.")
@click.option("--long", type=int, help="And to at most this long side.")
@click.option("--seed", default=3, show_default=True, help="Of the random numbers.")
def anchors(data: str, count: int, short: int | None, long: int | None, seed: int) -> None:
    """Find anchors that fit the boxes of a dataset.

    DATA is an annotation file in the COCO format. Prints width, height, size (the square root of the area) and
    aspect ratio (height / width) of each anchor, by ascending area, and the recipe node with these anchors.
    """
    import numpy as np

    from det_mobile.anchors.kmeans import cluster_sizes
    from det_mobile.anchors.reading import sizes_of

    sizes = sizes_of(data, short, long)
    shapes = cluster_sizes(sizes, count, seed=seed)
    click.echo(f"{len(sizes)} boxes")
    for width, height in shapes:
        click.echo(
            f"{width:9.2f} x {height:9.2f}   size {math.sqrt(width * height):8.2f}   ratio {height / width:5.2f}"
        )
    near = np.abs(np.log(sizes[:, None] / shapes)).sum(axis=2).argmin(axis=1)
    shares = ", ".join(f"{share:.0%}" for share in np.bincount(near, minlength=count) / len(sizes))
    click.echo(f"share of the boxes nearest to each: {shares}")
    rounded = [[round(float(w), 2), round(float(h), 2)] for w, h in shapes]
    click.echo(f"anchor_generator: {{type: det-mobile/shaped_anchors, shapes: {json.dumps(rounded)}}}")
