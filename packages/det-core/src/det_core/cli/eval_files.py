"""`det eval --predictions FILE --annotations FILE`: how good results in a file are. Needs neither a model nor torch."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from det_core.evaluation.coco_files import CocoFiles

__all__ = ["evaluate_files"]


def evaluate_files(
    predictions: Path, annotations: Path, as_json: bool, report: Path | None = None, images: Path | None = None
) -> None:
    """Judge results by COCO's rules and print the figures; the JSON has null for what is not defined."""
    from det_inspect.analysis.diagnosis import diagnose
    from det_inspect.analysis.error_overlaps import costs_by
    from det_inspect.analysis.evidence import seen_in
    from det_inspect.analysis.show import show_diagnosis

    from det_core.evaluation.coco_files import read_files

    files = read_files(annotations, predictions)
    figures, notes = _figures(files)
    why = diagnose(seen_in(files), files.classes, files.unknown, files.category_ids)
    others = [iou_type for iou_type in files.iou_types if iou_type != "bbox"]
    costs: dict[str, Any] = {name: costs_by(name, files.truth, files.found, len(files.classes)) for name in others}
    why = dataclasses.replace(why, errors_in=costs)
    title = f"{predictions}: {len(files.found['annotations'])} results, {len(files.image_ids)} images"
    if as_json:
        click.echo(json.dumps({**figures, "notes": notes, **why.as_json()}, indent=2))
    else:
        _show(figures, title)
        for note in notes:
            click.echo(note)
        show_diagnosis(why)
    if report is not None:
        from det_inspect.analysis.page import write_page

        flat = {f"{iou_type}/{name}": value for iou_type, own in figures.items() for name, value in own.items()}
        click.echo(f"{write_page(report, title, flat, notes, why, images)}", err=True)


def _figures(files: "CocoFiles") -> tuple[dict[str, dict[str, float | None]], list[str]]:
    """{"bbox": {"AP": ...}, ...} and what the reader should know of them."""
    from det_core.evaluation.curves import curves
    from det_core.evaluation.figures import LIMITS, per_class, summary

    figures: dict[str, dict[str, float | None]] = {}
    notes = list(files.notes)
    for iou_type in files.iou_types:
        made = curves(files.truth, files.found, iou_type, LIMITS[iou_type])
        own: dict[str, float | None] = {}
        for name, value, missing in (*summary(made, iou_type), *per_class(made, files.classes)):
            own[name] = value
            if value is None:
                notes.append(f"no {iou_type}/{name}: {missing}")
        figures[iou_type] = own
    return figures, notes


def _show(figures: Any, title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric")
    for iou_type in figures:
        table.add_column(iou_type, justify="right")
    for name in dict.fromkeys(name for own in figures.values() for name in own):
        values = (own.get(name) for own in figures.values())
        table.add_row(name, *("" if value is None else f"{value:.4f}" for value in values))
    console = Console(highlight=False)
    console.print(title, markup=False, soft_wrap=True)
    console.print(table)
