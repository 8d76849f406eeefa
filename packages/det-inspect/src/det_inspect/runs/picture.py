"""Curves of several runs over one another; needs matplotlib (`det-core[plots]`)."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from det_core.errors import CheckpointError

from det_inspect.optional import optional
from det_inspect.runs.comparison import labels
from det_inspect.runs.reading import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_comparison"]

_WIDE_RANGE = 100


def plot_comparison(runs: Sequence[Run], picture: Path) -> Path:
    """Draw loss, chosen metric and learning rate of runs, a color for each; returns where the picture is.

    Values that are not finite leave gaps. Losses that range over more than a factor of 100 are drawn logarithmically.

    Raises:
        MissingExtraError: matplotlib is not installed.
        CheckpointError: the picture cannot be written.
    """
    figure: Any = optional("matplotlib.figure", "--plot").Figure(figsize=(13, 4.4), layout="constrained")
    loss, metric, rate = figure.subplots(1, 3, gridspec_kw={"width_ratios": (4, 4, 2.5)})
    headline = next((run.headline[0] for run in runs if run.headline), "")
    palette = optional("matplotlib", "--plot").color_sequences["tab10"]
    for number, (run, label) in enumerate(zip(runs, labels(runs), strict=True)):
        style = {"color": palette[number % len(palette)]}
        _draw(loss, run, "loss", label=label, linewidth=1.3, **style)
        _draw(loss, run, "val/loss", linestyle="--", marker="o", markersize=4, **style)
        _draw(metric, run, f"val/{headline}", marker="o", markersize=4, **style)
        _draw(rate, run, "lr", **style)
    losses = [row["loss"] for run in runs for row in run.rows if math.isfinite(row.get("loss", math.nan))]
    if losses and min(losses) > 0 and max(losses) > _WIDE_RANGE * min(losses):
        loss.set_yscale("log")
    elif losses:
        loss.set_ylim(bottom=min(0.0, *losses))
    loss.set_title("loss (dashed: validation)")
    metric.set_title(headline or "not evaluated")
    rate.set_title("learning rate")
    for axes in (loss, metric, rate):
        axes.set_xlabel("step")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=min(len(runs), 4), fontsize=9, frameon=False)
    try:
        figure.savefig(picture, dpi=120)
    except (OSError, ValueError) as error:
        fix = "name a file such as curves.png in a folder that is there"
        raise CheckpointError(str(picture), "cannot be written", str(error), fix) from error
    return picture


def _draw(axes: "Axes", run: Run, name: str, **style: Any) -> None:
    points = [(row["step"], row[name]) for row in run.rows if name in row]
    if points or "label" in style:
        axes.plot([step for step, _ in points], [value for _, value in points], **style)
