"""Implementation of `det train --dry-run` and `det train --overfit N`."""

from typing import TYPE_CHECKING

import click
from det_core.cli.output import echo

from det_inspect.counting import counted

if TYPE_CHECKING:
    from det_core.recipes import Recipe

__all__ = ["command"]


def command(context: click.Context, loaded: "Recipe", images: int | None) -> None:
    """A dry run, or whether the model can overfit a few images.

    Args:
        context: click context of `det train`.
        loaded: recipe with all overrides applied.
        images: number of images to overfit; None: a dry run.
    """
    from det_inspect.training import trial

    trial.require_one_process("a trial")
    if images is None:
        run = trial.dry_run(loaded)
        echo("losses: " + ", ".join(f"{name} {value:.4g}" for name, value in run.losses.items()))
        echo("metrics: " + (", ".join(run.metrics[:12]) or "none"))
        echo(f"{run.seconds_per_step:.2f} s per step, {run.memory:.1f} GiB; about {run.hours:.1f} h in all")
        return
    outcome, value = trial.overfit(loaded, images)
    name = outcome.best.metric if outcome.best else "metric"
    done = f"after {outcome.step} steps on {counted(images, 'image')}"
    if value is None or value <= 0.9:
        echo(f"{name} {value} {done}: it does not learn them.", err=True)
        echo("Check classes and boxes (det data check), at the learning rate (det lr-find) and at the weights.")
        context.exit(1)
    echo(f"{name} {value:.3f} {done}: it learns.")
