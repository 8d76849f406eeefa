"""`det lr-find`: a learning rate to begin with."""

from pathlib import Path

import click
from det_core import recipes
from det_core.cli.output import echo
from det_core.errors import MissingExtraError

__all__ = ["command"]


@click.command()
@click.argument("recipe", metavar="RECIPE")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change a value of the recipe.")
@click.option("--lowest", type=float, default=1e-6, show_default=True, help="The first learning rate.")
@click.option("--highest", type=float, default=1.0, show_default=True, help="The last learning rate.")
@click.option("--steps", type=click.IntRange(5), default=100, show_default=True, help="Steps from one to the other.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw the curve there.")
def command(
    recipe: str, overrides: tuple[str, ...], lowest: float, highest: float, steps: int, plot: Path | None
) -> None:
    """Suggest a learning rate for RECIPE: the one at which the loss falls fastest while the rate rises.

    \b
    Example, from a clone of the project:
      det lr-find examples/blood-cells/recipe.yaml --steps 30
    """
    loaded = recipes.load(recipe, overrides)
    from det_inspect.runs.curves import plot_curves
    from det_inspect.training.trial import find_learning_rate, require_one_process

    require_one_process("lr-find")
    result = find_learning_rate(loaded, lowest, highest, steps)
    for rate, loss in zip(result.rates, result.losses, strict=True):
        echo(f"{rate:.3g}\t{loss:.4f}")
    if plot is not None:
        pairs = enumerate(zip(result.rates, result.losses, strict=True))
        rows = [{"step": step, "loss": loss, "lr": rate} for step, (rate, loss) in pairs]
        try:
            echo(f"The curve: {plot_curves(rows, plot)}")
        except MissingExtraError as error:
            echo(f"No curve: {error}", err=True)
    if result.suggestion is None:
        echo("No suggestion: the loss never falls; widen --lowest and --highest.")
    else:
        echo(f"Begin with --set train.optimizer.lr={result.suggestion:.2g}")
