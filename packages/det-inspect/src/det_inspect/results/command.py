"""`det eval --predictions FILE --annotations FILE`: how good results in a file are. Needs neither a model nor torch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from det_core.cli.output import cell, echo
from det_core.errors import ConfigError
from det_core.printable import printable
from det_core.zoo.class_names import short_name

if TYPE_CHECKING:
    from det_inspect.results.coco_files import CocoFiles

__all__ = ["evaluate_files"]


def evaluate_files(
    predictions: Path,
    annotations: Path,
    as_json: bool = False,
    report: Path | None = None,
    images: Path | None = None,
    options: Sequence[str] = (),
) -> None:
    """Compare results with annotations by COCO's rules and print the metrics; the JSON has null where undefined.

    Args:
        predictions: result file in COCO's format.
        annotations: ground-truth file in COCO's format.
        as_json: print JSON instead of a table.
        report: folder of a report, or None.
        images: image folder, for the report.
        options: those of --analysis, which need a model.

    Raises:
        ConfigError: there are `options`.
    """
    from det_inspect.analysis.explanation import explanation_of
    from det_inspect.results.coco_files import read_files

    if options:
        raise ConfigError("--analysis", "has no options for results in a file", fix="evaluate a model")
    files = read_files(annotations, predictions)
    figures, notes = _figures(files)
    why = explanation_of(files, images)
    title = f"{predictions}: {len(files.detections['annotations'])} results, {len(files.image_ids)} images"
    if as_json:
        echo(json.dumps({**figures, "notes": notes, **why.as_json()}, indent=2))
    else:
        _show(figures, title)
        for note in notes:
            echo(short_name(note, 1000))
        why.show()
    if report is not None:
        flat = {f"{iou_type}/{name}": value for iou_type, metrics in figures.items() for name, value in metrics.items()}
        echo(f"{why.write_report(report, title, flat, notes)}", err=True)


def _figures(files: "CocoFiles") -> tuple[dict[str, dict[str, float | None]], list[str]]:
    """{"bbox": {"AP": ...}, ...} and notes for the user."""
    from det_core.evaluation.curves import curves
    from det_core.evaluation.figures import LIMITS, per_class, summary

    figures: dict[str, dict[str, float | None]] = {}
    notes = list(files.notes)
    for iou_type in files.iou_types:
        results = curves(files.ground_truth, files.detections, iou_type, LIMITS[iou_type])
        metrics: dict[str, float | None] = {}
        for name, value, missing in (*summary(results, iou_type), *per_class(results, files.classes)):
            metrics[name] = value
            if value is None:
                notes.append(f"no {iou_type}/{name}: {missing}")
        figures[iou_type] = metrics
    return figures, notes


def _show(figures: Any, title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric")
    for iou_type in figures:
        table.add_column(iou_type, justify="right")
    for name in dict.fromkeys(name for metrics in figures.values() for name in metrics):
        values = (metrics.get(name) for metrics in figures.values())
        table.add_row(cell(short_name(name, 100)), *("" if value is None else f"{value:.4f}" for value in values))
    console = Console(highlight=False)
    console.print(printable(title), markup=False, soft_wrap=True)
    console.print(table)
