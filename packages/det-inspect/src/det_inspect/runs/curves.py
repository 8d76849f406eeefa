"""Learning curves of a run as one picture; needs matplotlib (`det-core[plots]`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

from det_inspect.optional import optional

__all__ = ["plot_curves"]

_Rows = Sequence[Mapping[str, float]]
_HEADLINES = ("/AP", "/AP50", "/AP75")


def plot_curves(rows: Sequence[Mapping[str, float]], picture: Path | str) -> Path:
    """Draw losses, validation metrics and learning rate against the steps; returns where the picture is.

    Args:
        rows: rows of a run's `scalars.jsonl`, from `det_core.engine.read_scalars`.
        picture: the file to write; its ending gives the format.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    # The Figure alone, without pyplot: no global state, no display needed.
    figure = optional("matplotlib.figure", "plot_curves").Figure(figsize=(13, 4), layout="constrained")
    losses, metrics, rate = figure.subplots(1, 3, gridspec_kw={"width_ratios": (4, 4, 2.5)})
    _plot_losses(losses, rows)
    _plot_metrics(metrics, rows)
    rate.plot(*_series(rows, "lr"), color="tab:gray", marker=_marker(rows, "lr"))
    rate.set_title("learning rate")
    for axes in (losses, metrics, rate):
        axes.set_xlabel("step")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, dpi=120)
    return Path(picture)


def _plot_losses(axes: "Axes", rows: _Rows) -> None:
    parts = [name for name in _names(rows) if name.startswith("loss_")]
    for name in parts:
        axes.plot(
            *_series(rows, name), label=name.removeprefix("loss_"), linewidth=1, alpha=0.7, marker=_marker(rows, name)
        )
    axes.plot(*_series(rows, "loss"), label="training loss", color="black", linewidth=1.6, marker=_marker(rows, "loss"))
    steps, values = _series(rows, "val/loss")
    if steps:
        axes.plot(steps, values, label="validation loss", color="black", linestyle="--", marker="o", markersize=4)
    axes.set_title("loss")
    axes.set_ylim(bottom=0)
    _legend(axes)


def _plot_metrics(axes: "Axes", rows: _Rows) -> None:
    names = [name for name in _names(rows) if name.startswith("val/") and not name.startswith("val/loss")]
    headlines = [name for name in names if name.endswith(_HEADLINES)] or names[:5]
    for name in headlines:
        steps, values = _series(rows, name)
        axes.plot(steps, values, label=f"{name.removeprefix('val/')} (last {values[-1]:.3f})", marker="o", markersize=4)
    axes.set_title("validation")
    if headlines:
        axes.set_ylim(0, 1)
        _legend(axes)
    else:
        axes.text(0.5, 0.5, "not evaluated", ha="center", va="center", transform=axes.transAxes, color="gray")


def _legend(axes: "Axes") -> None:
    """Below the axes, where no curve runs."""
    axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def _marker(rows: _Rows, name: str) -> str:
    """A single point is no line, so that it is marked."""
    return "o" if len(_series(rows, name)[0]) == 1 else ""


def _names(rows: _Rows) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _series(rows: _Rows, name: str) -> tuple[list[float], list[float]]:
    points = [(row["step"], row[name]) for row in rows if name in row]
    return [step for step, _ in points], [value for _, value in points]
