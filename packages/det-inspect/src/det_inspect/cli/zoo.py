"""`det zoo`: the published models, their reported metrics, and their weight files."""

import json
from collections.abc import Sequence
from typing import Any

import click
from det_core.cli.output import echo
from det_core.zoo import published
from det_core.zoo.published import PublishedModel

from det_inspect.licenses import data_license, weights_license
from det_inspect.zoo import TASKS, figures_of, package_of, published_model, recipe_of

__all__ = ["command"]

_UNVERIFIED = "Figures as published, for their data and machines; not verified by us."
_COLUMNS = {"box_ap": ".1f", "mask_ap": ".1f", "keypoint_ap": ".1f", "seconds": ".3f", "gigabytes": ".1f"}


@click.group()
def command() -> None:
    """Published models: list and show them, convert and verify their weights."""


@command.command("list")
@click.option("--task", type=click.Choice(TASKS), help="Only the models for one task.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(task: str | None, as_json: bool) -> None:
    """List the published models, with the figures that their publishers report.

    \b
    Example:
      det zoo list --task keypoints
    """
    models = [model for model in published.models().values() if task in (None, model.task)]
    if as_json:
        echo(json.dumps([_facts(model) for model in models], indent=1))
    else:
        _show_table(models)


@command.command(short_help="Show the published data of a model.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show the published data of the model NAME, given by its published name or that of its recipe.

    \b
    Example:
      det zoo show faster_rcnn_r50_fpn_3x
    """
    model = published_model(name)
    if as_json:
        echo(json.dumps(_facts(model), indent=1))
        return
    recipe, package = recipe_of(model), package_of(model)
    rows = {
        "task": model.task,
        "data": model.data,
        "recipe": recipe or (f"not installed; {package} brings it" if package else "none yet"),
        "weights": model.weights or "none published",
        **{f"license of the {of}": terms for of, terms in _licenses(model).items()},
        **model.reported,
    }
    echo(model.name)
    width = max(map(len, rows))
    for label, value in ((label, value) for label, value in rows.items() if value != ""):
        echo(f"  {label:{width}}  {value}")
    if model.reported:
        echo(_UNVERIFIED)


def _licenses(model: PublishedModel) -> dict[str, str]:
    """The terms of the weights and of the annotations that they were trained on, as far as they are stated."""
    weights = {"weights": weights_license(model.weights)} if model.weights else {}
    return weights | {"annotations": data_license(model.data)} | dict(model.licenses)


def _facts(model: PublishedModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "task": model.task,
        "data": model.data,
        "recipe": recipe_of(model) or None,
        "package": package_of(model) or None,
        "weights": model.weights,
        "licenses": _licenses(model),
        **figures_of(model),
        "reported": dict(model.reported),
        "verified": False,
    }


def _show_table(models: Sequence[PublishedModel]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(caption=_UNVERIFIED, caption_justify="left")
    table.add_column("model", overflow="fold")
    table.add_column("task")
    for heading in ("box AP", "mask AP", "kp. AP", "s/image", "GB"):
        table.add_column(heading, justify="right")
    table.add_column("weights")
    table.add_column("recipe", overflow="fold")
    for model in models:
        figures, package = figures_of(model), package_of(model)
        cells = [f"{figures[key]:{form}}" if key in figures else "" for key, form in _COLUMNS.items()]
        recipe = recipe_of(model) or (f"needs {package}" if package else "none yet")
        table.add_row(model.name, model.task, *cells, "yes" if model.weights else "none", recipe)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:  # a file or a pipe has no width limit
        console.width = 1000
    console.print(table)
