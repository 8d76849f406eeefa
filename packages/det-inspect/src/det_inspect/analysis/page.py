"""An evaluation as one self-contained HTML page: metrics, issues, errors, PR curves, confusions, the worst images.

No torch is needed here.
"""

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
from det_core.errors import ConfigError
from det_core.zoo.class_names import short_name

from det_inspect.analysis.error_analysis import WHAT, ErrorAnalysis
from det_inspect.analysis.error_kinds import RIGHT, ImageErrors, pairs
from det_inspect.analysis.image_records import Floats, ImageRecord

__all__ = ["page", "write_page"]

_CURVES, _CLASSES, _IMAGES, _SIDE = 8, 20, 12, 560
_BOXES, _SHORT, _LONGEST = 1000, 48, 500
_COLORS = ("#2f6fdb", "#e0452f", "#1f9d57", "#d99a00", "#8e44ad", "#16a5b8", "#e2618f", "#7a5c3e")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1160px; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: .6em 0 } td, th { padding: 2px 9px; text-align: right }
td:first-child, th:first-child { text-align: left } tr:nth-child(even) td { background: #f6f6f6 }
.confusion td, .confusion th { padding: 3px 5px; font-size: 12px; text-align: center; background: none }
.confusion th.side { text-align: right } .confusion thead th { writing-mode: vertical-rl; transform: rotate(180deg) }
.issue { border-left: 5px solid #e0452f; background: #fdf0ee; padding: .5em 1em; margin: .5em 0 }
.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 14px }
figure { margin: 0 } figure svg { width: 100%; height: auto; background: #ddd }
figcaption, .small { font-size: 13px; color: #555 }
.right { stroke: #17a34a } .wrong { stroke: #ef2b1d } .lost { stroke: #ffb300; stroke-dasharray: 6 4 }
"""


def write_page(
    folder: Path,
    title: str,
    figures: Mapping[str, float | None],
    notes: Sequence[str],
    analysis: ErrorAnalysis | None,
    images: Path | None = None,
) -> Path:
    """Write `index.html` into a folder, which is created if missing; returns its path. Arguments are those of `page`.

    Raises:
        ConfigError: the file cannot be written.
    """
    target = folder / "index.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target.write_text(page(title, figures, notes, analysis, images), encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(target), "the report cannot be written", error.strerror or str(error)) from error
    return target


def page(
    title: str,
    figures: Mapping[str, float | None],
    notes: Sequence[str],
    analysis: ErrorAnalysis | None,
    images: Path | None = None,
) -> str:
    """The page as text.

    Args:
        title: name of the evaluated model or file.
        figures: metrics by name, such as "bbox/AP"; None if undefined.
        notes: remarks on missing or special metrics.
        analysis: error analysis; None without one.
        images: the folder that the names of files start from; None takes them as they are.
    """
    title, figures, notes = short_name(title, _LONGEST), _named(figures), [short_name(note, _LONGEST) for note in notes]
    if analysis is not None:
        analysis = replace(analysis, classes=tuple(map(short_name, analysis.classes)))
    parts = [f"<h1>{escape(title)}</h1>"]
    if analysis is not None:
        parts += [_issues(analysis), "<h2>Costs of errors</h2>", _errors(analysis)]
    parts += ["<h2>Metrics</h2>", _figures(figures)]
    if notes:
        parts.append(_folded("notes", "<br>".join(map(escape, notes))))
    if analysis is not None and analysis.errors.ap50 is not None:
        threshold = _best_threshold(analysis)
        parts += ["<h2>Precision and recall at an IoU of 0.5</h2>", _curves(analysis)]
        parts += ["<h2>Confusion matrix</h2>", _confusion(analysis, threshold)]
        parts += ["<h2>The worst images</h2>", _worst(analysis, threshold, images)]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return head + "\n".join(parts) + "</html>\n"


def _named(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    """Figures by names that are short; of equal ones those after the first are numbered."""
    named: dict[str, float | None] = {}
    for name, value in figures.items():
        short = short_name(name, 2 * _SHORT)
        named[short if short not in named else f"{short} ({len(named)})"] = value
    return named


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    return f"<table><tr>{head}</tr>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


def _figures(figures: Mapping[str, float | None]) -> str:
    """A column for each task ("bbox" of "bbox/AP"); metrics of single classes are folded away."""
    rows: dict[str, dict[str, float | None]] = {}
    for name, value in figures.items():
        task, _, metric = name.partition("/")
        rows.setdefault(metric or task, {})[task if metric else ""] = value
    tasks = list(dict.fromkeys(task for row in rows.values() for task in row))

    def table(names: Sequence[str]) -> str:
        return _table(
            ("metric", *tasks), [(name, *(_number(rows[name].get(task)) for task in tasks)) for name in names]
        )

    single = [name for name in rows if "/" in name]
    whole = table([name for name in rows if "/" not in name])
    return whole + (_folded(f"{len(single)} metrics of single classes", table(single)) if single else "")


def _folded(title: str, content: str) -> str:
    return f'<details class="small"><summary>{escape(title)}</summary>{content}</details>'


def _issues(analysis: ErrorAnalysis) -> str:
    if not analysis.issues:
        return "<p>No issues of format.</p>"
    blocks = (
        f'<div class="issue"><b>{escape(each.kind)}</b>: {escape(each.details)}.<br>{escape(each.fix)}</div>'
        for each in analysis.issues
    )
    return "<h2>Issues of format</h2>" + "".join(blocks)


def _errors(analysis: ErrorAnalysis) -> str:
    parts = {"bbox": analysis.errors, **analysis.errors_in}
    head = ("kind", *(f"{of}: {what}" for of in map(WHAT.__getitem__, parts) for what in ("errors", "cost in AP50")))
    rows = [
        (kind, *(cell for each in parts.values() for cell in (each.counts[kind], _number(each.costs.get(kind)))))
        for kind in analysis.errors.counts
    ]
    return _table(head, rows)


def _best_threshold(analysis: ErrorAnalysis) -> float:
    """The score threshold with the best F1."""
    scores, right = _scored(analysis, None)
    hits = np.cumsum(right)
    num_objects = sum(int((~record.ground_truth.crowd).sum()) for record in analysis.images)
    balance = 2 * hits / (np.arange(1, len(hits) + 1) + num_objects)
    return float(scores[balance.argmax()]) if len(hits) else 0.0


def _scored(analysis: ErrorAnalysis, label: int | None) -> tuple[Floats, np.ndarray]:
    """Scores, falling, and whether each detection (of a class) is right; those in crowds are omitted."""
    scores, right = [np.zeros(0)], [np.zeros(0, np.bool_)]
    for record, errors in zip(analysis.images, analysis.image_errors, strict=True):
        counted = errors.kinds != "ignored"
        if label is not None:
            counted &= record.detections.labels[errors.rows] == label
        scores.append(record.detections.scores[errors.rows[counted]])
        right.append(errors.kinds[counted] == RIGHT)
    joined = np.concatenate(scores)
    order = np.argsort(-joined, kind="stable")
    return joined[order], np.concatenate(right)[order]


def _counts(analysis: ErrorAnalysis) -> "Counter[int]":
    """Number of ground-truth objects of each class."""
    objects = (record.ground_truth for record in analysis.images)
    return Counter(int(label) for each in objects for label in each.labels[~each.crowd])


def _curves(analysis: ErrorAnalysis) -> str:
    """Recall to the right, precision upwards, of the most frequent classes."""
    num_objects = _counts(analysis)
    lines, names = [], []
    for place, (label, count) in enumerate(num_objects.most_common(_CURVES)):
        _, right = _scored(analysis, label)
        hits = np.cumsum(right)
        recall, precision = hits / count, hits / np.arange(1, len(hits) + 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        points = " ".join(f"{60 + 400 * r:.1f},{320 - 300 * p:.1f}" for r, p in _thinned(recall, envelope))
        color = _COLORS[place % len(_COLORS)]
        lines.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        text = f"{escape(analysis.classes[label])} ({count})"
        names.append(f'<text x="490" y="{40 + 22 * place}" fill="{color}">{text}</text>')
    grid = "".join(
        f'<path d="M60 {320 - 300 * s}H460M{60 + 400 * s} 20V320" stroke="#ddd" fill="none"/>'
        f'<text x="52" y="{325 - 300 * s}" text-anchor="end">{s}</text>'
        f'<text x="{60 + 400 * s}" y="340" text-anchor="middle">{s}</text>'
        for s in (0, 0.25, 0.5, 0.75, 1)
    )
    axes = '<text x="260" y="362" text-anchor="middle">recall</text>'
    axes += '<text x="16" y="170" text-anchor="middle" transform="rotate(-90 16 170)">precision</text>'
    start = '<svg viewBox="0 0 760 370" width="760" font-size="13" fill="#444">'
    return start + grid + axes + "".join(lines + names) + "</svg>"


def _thinned(recall: Floats, precision: Floats) -> list[tuple[float, float]]:
    """The points of a curve at which it bends, from recall 0 on; 400 at most."""
    if not len(recall):
        return []
    points = [(0.0, float(precision[0])), *zip(recall.tolist(), precision.tolist(), strict=True)]
    return points[:: max(1, len(points) // 400)] + points[-1:]


def _confusion(analysis: ErrorAnalysis, threshold: float) -> str:
    """Confusion matrix of the most frequent classes and background: ground truth in rows, predictions in columns."""
    above = [
        errors._replace(kinds=np.where(record.detections.scores[errors.rows] >= threshold, errors.kinds, "ignored"))
        for record, errors in zip(analysis.images, analysis.image_errors, strict=True)
    ]
    above = [errors._replace(lost=_unmatched(errors)) for errors in above]
    counts = Counter(pairs(analysis.images, above))
    labels = [label for label, _ in _counts(analysis).most_common(_CLASSES)]
    columns = [*labels, -1]
    names = {**{label: escape(analysis.classes[label]) for label in labels}, -1: "background"}
    head = "<th></th>" + "".join(f"<th>{names[label]}</th>" for label in columns)
    rows = []
    for true in columns:
        total = sum(counts[true, predicted] for predicted in columns) or 1
        cells = []
        for predicted in columns:
            share, count = counts[true, predicted] / total, counts[true, predicted]
            color = f"rgba({'31,157,87' if true == predicted else '224,69,47'},{share:.2f})"
            cells.append(f'<td style="background:{color}">{count or ""}</td>')
        rows.append(f'<tr><th class="side">{names[true]}</th>{"".join(cells)}</tr>')
    note = f"Rows are ground truth, columns detections of a score of at least {threshold:.2f} (the best F1)."
    return f'<p class="small">{note}</p><table class="confusion"><thead><tr>{head}</tr></thead>{"".join(rows)}</table>'


def _unmatched(errors: ImageErrors) -> np.ndarray:
    """Objects that are neither crowds, nor matched, nor covered by a detection of another class."""
    met = np.zeros(len(errors.missed), np.bool_)
    met[errors.meant[np.isin(errors.kinds, (RIGHT, "classification"))]] = True
    single = errors.missed.copy()
    single[errors.meant[errors.meant >= 0]] = True
    return single & ~met


def _worst(analysis: ErrorAnalysis, threshold: float, images: Path | None) -> str:
    pairs_of_images = zip(analysis.images, analysis.image_errors, strict=True)
    worst = sorted(pairs_of_images, key=lambda each: -_badness(*each))[:_IMAGES]
    note = f"Green: correct; red: wrong; dashed yellow: missed. Detections of a score of at least {threshold:.2f}."
    blocks = [_figure(analysis, *each, threshold, images) for each in worst if _badness(*each) > 0]
    return f'<p class="small">{note}</p><div class="images">{"".join(blocks)}</div>'


def _badness(record: ImageRecord, errors: ImageErrors) -> float:
    """Objects missed, and wrong detections by their scores."""
    wrong = ~np.isin(errors.kinds, (RIGHT, "ignored"))
    return float(errors.lost.sum() + record.detections.scores[errors.rows[wrong]].clip(0, 1).sum())


def _figure(
    analysis: ErrorAnalysis, record: ImageRecord, errors: ImageErrors, threshold: float, images: Path | None
) -> str:
    height, width = record.size
    if not height or not width:
        corners = np.concatenate((record.ground_truth.boxes, record.detections.boxes))
        width, height = (int(side) + 1 for side in corners[:, 2:].max(0, initial=1.0))
    unit = max(width, height) / 300
    picture = _picture(record.file, images)
    parts = [f'<image href="{picture}" width="{width}" height="{height}"/>'] if picture else []
    rows = np.flatnonzero(record.detections.scores[errors.rows] >= threshold)
    missed = np.flatnonzero(errors.missed)
    rest = max(0, len(rows) - _BOXES) + max(0, len(missed) - _BOXES)
    errors_first = rows[np.argsort(errors.kinds[rows] == RIGHT, kind="stable")]
    rows = np.sort(errors_first[:_BOXES])
    for row, kind in zip(errors.rows[rows], errors.kinds[rows], strict=True):
        if kind != "ignored":
            name = analysis.classes[int(record.detections.labels[row])]
            label = f"{name} {record.detections.scores[row]:.2f}" + ("" if kind == RIGHT else f": {kind}")
            parts.append(_box(record.detections.boxes[row], "right" if kind == RIGHT else "wrong", label, unit))
    for row in missed[:_BOXES]:
        label = f"{analysis.classes[int(record.ground_truth.labels[row])]} is missed"
        parts.append(_box(record.ground_truth.boxes[row], "lost", label, unit))
    image_id = escape(short_name(Path(record.file).name or str(record.image_id), _LONGEST))
    num_objects = int((~record.ground_truth.crowd).sum())
    caption = f"{image_id}: {int(errors.missed.sum())} missed of {num_objects}"
    caption += f"; {rest} more boxes are not drawn" if rest else ""
    return (
        f'<figure><svg viewBox="0 0 {width} {height}">{"".join(parts)}</svg><figcaption>{caption}</figcaption></figure>'
    )


def _box(box: Floats, style: str, label: str, unit: float) -> str:
    x, y, right, bottom = box.tolist()
    sides = f'x="{x:.1f}" y="{y:.1f}" width="{max(right - x, 0):.1f}" height="{max(bottom - y, 0):.1f}"'
    return f'<rect {sides} class="{style}" fill="none" stroke-width="{unit:.2f}"><title>{escape(label)}</title></rect>'


def _picture(file: str, images: Path | None) -> str:
    """A small JPEG as a data address; "" if the file is not there, cannot be read, or lies outside the folder."""
    from PIL import Image, ImageOps

    path = Path(file) if images is None else (images / file).resolve()
    if not file or not path.is_file() or (images is not None and not path.is_relative_to(images.resolve())):
        return ""
    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (_SIDE, _SIDE))
            small = ImageOps.exif_transpose(opened).convert("RGB")
            small.thumbnail((_SIDE, _SIDE))
    except Exception:  # Pillow may raise anything on a damaged image; the page is written without it
        return ""
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
