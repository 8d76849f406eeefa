"""The table, the JSON and the picture of a measurement; the picture needs matplotlib (`det-core[plots]`)."""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from det_core.errors import ConfigError

from det_inspect.optional import optional
from det_inspect.speed.measure import Figures

__all__ = ["COLUMNS", "plot", "rows_of", "to_json"]

COLUMNS = (
    "runtime",
    "median, ms",
    "p95, ms",
    "images/s",
    "times first",
    "peak, MB",
    "file, MB",
    "detections",
    "matched",
    "boxes, px",
    "scores",
)


def rows_of(figures: Sequence[Figures]) -> list[list[str]]:
    """The cells of each runtime, in the order of `COLUMNS`."""
    first = figures[0].median
    return [
        [
            each.runtime,
            f"{each.median:.1f}",
            f"{each.p95:.1f}",
            f"{each.throughput:.2f}",
            f"{first / each.median:.2f}",
            "-" if each.peak_mb is None else f"{each.peak_mb:.0f}",
            "-" if each.file_mb is None else f"{each.file_mb:.1f}",
            str(each.detections),
            f"{each.agreement.matched:.1%}",
            f"{each.agreement.boxes:.1g}",
            f"{each.agreement.scores:.1g}",
        ]
        for each in figures
    ]


def to_json(figures: Sequence[Figures], about: dict[str, Any]) -> str:
    """All measurements, with the model and the machine."""
    import torch

    versions = {"torch": torch.__version__, "python": platform.python_version(), "machine": platform.machine()}
    return json.dumps({**about, "versions": versions, "runtimes": [each.to_json() for each in figures]}, indent=1)


def plot(figures: Sequence[Figures], title: str, picture: Path) -> Path:
    """Draw latency (median, and a line to p95), throughput and peak memory of each runtime; returns the file.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ConfigError: the picture cannot be written.
    """
    figure: Any = optional("matplotlib.figure", "--plot").Figure(
        figsize=(13, 1.6 + 0.45 * len(figures)), layout="constrained"
    )
    names = [each.runtime for each in figures]
    panels = (
        ("latency, ms (line: to p95)", [each.median for each in figures], "{:.0f}"),
        ("throughput, images/s", [each.throughput for each in figures], "{:.2f}"),
        ("peak memory, MB", [each.peak_mb or 0.0 for each in figures], "{:.0f}"),
    )
    colors = ["#4363d8" if number else "#888888" for number in range(len(figures))]
    for axes, (label, values, form) in zip(figure.subplots(1, 3, sharey=True), panels, strict=True):
        bars = axes.barh(names, values, color=colors)
        if label.startswith("latency"):
            for row, each in enumerate(figures):
                axes.plot([each.median, each.p95], [row, row], color="black", linewidth=1.5)
        else:
            axes.bar_label(bars, [form.format(value) for value in values], padding=3, fontsize=9)
        axes.set_title(label, fontsize=10)
        axes.margins(x=0.18)
        axes.spines[["top", "right"]].set_visible(False)
    axes.invert_yaxis()  # shared: the first runtime on top
    figure.suptitle(title, fontsize=11)
    try:
        figure.savefig(picture, dpi=120)
    except (OSError, ValueError) as error:
        fix = "name a file such as speed.png in a folder that is there"
        raise ConfigError("--plot", "the picture cannot be written", str(error), fix) from error
    return picture
