"""`det licenses`: licences of the packages, weights and data of a recipe."""

import json

import click
from det_core import recipes
from det_core.cli.output import echo

__all__ = ["command"]


@click.command()
@click.argument("recipe", metavar="RECIPE")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(recipe: str, as_json: bool) -> None:
    """List the licences of the packages, weights and data of RECIPE, as far as they are stated.

    Packages by their metadata, with all that they require; weights by where they are published; data by the list in the
    annotation file, or by the name of the dataset. It is no legal advice.

    \b
    Example:
      det licenses mask_rcnn_r50_fpn_3x
    """
    from det_inspect.licenses import licenses_of

    rows = licenses_of(recipes.load(recipe))
    if as_json:
        echo(json.dumps([row._asdict() for row in rows], indent=1))
        return
    for kind in ("weights", "data", "package"):
        for row in (row for row in rows if row.kind == kind):
            echo(f"{kind:8} {row.name}: {row.terms}")
