"""`det analyze`: parameters, operations and activations of a model."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from det_core.cli.output import cell, echo

if TYPE_CHECKING:
    from det_inspect.models import ModuleCost

__all__ = ["command"]

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(short_help="Count parameters, operations and activations of a model.")
@click.argument("model")
@click.option("--size", nargs=2, type=click.IntRange(32, 4096), default=(320, 320), show_default=True, metavar="H W")
@click.option("--depth", type=click.IntRange(min=0), default=2, show_default=True, help="How deep modules are listed.")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change the recipe.")
@click.option("--html", type=_FILE, metavar="FILE", help="Write all modules to a page.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON of all modules.")
@click.option("--trust", is_flag=True, help="Run code that the checkpoint names outside the installed plugins.")
def command(
    model: str,
    size: tuple[int, int],
    depth: int,
    overrides: tuple[str, ...],
    html: Path | None,
    as_json: bool,
    trust: bool,
) -> None:
    """Count what MODEL (a recipe, a checkpoint or the folder of a run) costs for one image.

    Multiply-accumulates (MACs) are half of torch's count of floating-point operations, those of convolutions and matrix
    products. The image is noise, and a second stage is counted for the regions that the model proposes in it.

    \b
    Examples:
      det analyze mobile_tiny
      det analyze faster_rcnn_r50_fpn_1x --size 800 1216 --html costs.html
    """
    import torch
    from det_core.structures import ImageBatch

    from det_inspect.models import costs_page, model_costs

    built = _built(model, overrides, trust)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, 3, *size), generator=generator, dtype=torch.uint8)
    costs = model_costs(built, ImageBatch(pixels=pixels, sizes=(size,)))
    note = f"One image of {size[0]} x {size[1]} pixels of noise."
    if html is not None:
        html.write_text(costs_page(costs, model, note), "utf-8")
    if as_json:
        echo(json.dumps([asdict(cost) for cost in costs], indent=1))
        return
    _show([cost for cost in costs if cost.calls or cost.parameters], depth)
    echo(note)
    if html is not None:
        echo(f"{html}: all modules")


def _built(model: str, overrides: tuple[str, ...], trust: bool) -> Any:
    """The model; weights are only read from a checkpoint."""
    if model.endswith(".safetensors") or Path(model).is_dir():
        from det_core.predict import Detector

        return Detector.load(model, None, "cpu", overrides=overrides, trust=trust).model
    from det_core import recipes

    return recipes.load(model, overrides).build_model()


def _show(costs: list["ModuleCost"], depth: int) -> None:
    from rich.console import Console
    from rich.table import Table

    from det_inspect.models.page import depth_of, with_unit

    table = Table(box=None)
    table.add_column("module")
    for name in ("class", "parameters", "MACs", "share", "activations"):
        table.add_column(name, justify="left" if name == "class" else "right")
    total = max(costs[0].flops, 1)
    for cost in costs:
        if (level := depth_of(cost.name)) <= depth:
            name = "  " * level + (cost.name.rpartition(".")[2] or "model")
            numbers = (with_unit(cost.parameters), with_unit(cost.flops // 2), f"{cost.flops / total:.1%}")
            table.add_row(*map(cell, (name, cost.kind, *numbers, with_unit(cost.activations))))
    Console(width=140).print(table)
