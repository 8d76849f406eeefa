"""An evaluation as one self-contained HTML page: figures, suspicions, errors, PR curves, confusions, the worst images.

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

from det_inspect.analysis.diagnosis import WHAT, Diagnosis
from det_inspect.analysis.error_kinds import RIGHT, Judged, pairs
from det_inspect.analysis.image_records import Floats, ImageRecord

__all__ = ["page", "write_page"]

_CURVES, _CLASSES, _IMAGES, _SIDE = 8, 20, 12, 560
_BOXES, _SHORT, _LONGEST = 1000, 48, 500
_COLOURS = ("#2f6fdb", "#e0452f", "#1f9d57", "#d99a00", "#8e44ad", "#16a5b8", "#e2618f", "#7a5c3e")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1160px; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: .6em 0 } td, th { padding: 2px 9px; text-align: right }
td:first-child, th:first-child { text-align: left } tr:nth-child(even) td { background: #f6f6f6 }
.confusion td, .confusion th { padding: 3px 5px; font-size: 12px; text-align: center; background: none }
.confusion th.side { text-align: right } .confusion thead th { writing-mode: vertical-rl; transform: rotate(180deg) }
.suspicious { border-left: 5px solid #e0452f; background: #fdf0ee; padding: .5em 1em; margin: .5em 0 }
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
    why: Diagnosis | None,
    images: Path | None = None,
) -> Path:
    """Write `index.html` into a folder, which is created if missing; returns its path. Arguments are those of `page`.

    Raises:
        ConfigError: the file cannot be written.
    """
    target = folder / "index.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target.write_text(page(title, figures, notes, why, images), encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(target), "the report cannot be written", error.strerror or str(error)) from error
    return target


def page(
    title: str,
    figures: Mapping[str, float | None],
    notes: Sequence[str],
    why: Diagnosis | None,
    images: Path | None = None,
) -> str:
    """The page as text.

    Args:
        title: name of the evaluated model or file.
        figures: metrics by name, such as "bbox/AP"; None if undefined.
        notes: notes on the metrics.
        why: error analysis; None without one.
        images: the folder that the names of files start from; None takes them as they are.
    """
    title, figures, notes = short_name(title, _LONGEST), _named(figures), [short_name(note, _LONGEST) for note in notes]
    if why is not None:
        why = replace(why, classes=tuple(map(short_name, why.classes)))
    parts = [f"<h1>{escape(title)}</h1>"]
    if why is not None:
        parts += [_suspicions(why), "<h2>What errors cost</h2>", _errors(why)]
    parts += ["<h2>Figures</h2>", _figures(figures)]
    if notes:
        parts.append(_folded("what else to know", "<br>".join(map(escape, notes))))
    if why is not None and why.errors.ap50 is not None:
        least = _best_threshold(why)
        parts += ["<h2>Precision and recall at an overlap of 0.5</h2>", _curves(why)]
        parts += ["<h2>What was called what</h2>", _confusion(why, least)]
        parts += ["<h2>The worst images</h2>", _worst(why, least, images)]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return head + "\n".join(parts) + "</html>\n"


def _named(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    """Figures by names that are short; of equal ones those after the first are numbered."""
    found: dict[str, float | None] = {}
    for name, value in figures.items():
        short = short_name(name, 2 * _SHORT)
        found[short if short not in found else f"{short} ({len(found)})"] = value
    return found


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    return f"<table><tr>{head}</tr>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


def _figures(figures: Mapping[str, float | None]) -> str:
    """A column for each task ("bbox" of "bbox/AP"); figures of single classes are folded away."""
    rows: dict[str, dict[str, float | None]] = {}
    for name, value in figures.items():
        task, _, metric = name.partition("/")
        rows.setdefault(metric or task, {})[task if metric else ""] = value
    tasks = list(dict.fromkeys(task for own in rows.values() for task in own))

    def table(names: Sequence[str]) -> str:
        return _table(
            ("metric", *tasks), [(name, *(_number(rows[name].get(task)) for task in tasks)) for name in names]
        )

    single = [name for name in rows if "/" in name]
    whole = table([name for name in rows if "/" not in name])
    return whole + (_folded(f"{len(single)} figures of single classes", table(single)) if single else "")


def _folded(title: str, content: str) -> str:
    return f'<details class="small"><summary>{escape(title)}</summary>{content}</details>'


def _suspicions(why: Diagnosis) -> str:
    if not why.suspicions:
        return "<p>Nothing is suspicious about boxes and classes.</p>"
    blocks = (
        f'<div class="suspicious"><b>{escape(each.kind)}</b>: {escape(each.evidence)}.<br>{escape(each.fix)}</div>'
        for each in why.suspicions
    )
    return "<h2>Suspicious</h2>" + "".join(blocks)


def _errors(why: Diagnosis) -> str:
    parts = {"bbox": why.errors, **why.errors_in}
    head = ("kind", *(f"{of}: {what}" for of in map(WHAT.__getitem__, parts) for what in ("errors", "cost in AP50")))
    rows = [
        (kind, *(cell for each in parts.values() for cell in (each.counts[kind], _number(each.costs.get(kind)))))
        for kind in why.errors.counts
    ]
    return _table(head, rows)


def _best_threshold(why: Diagnosis) -> float:
    """The score threshold with the best F1."""
    scores, right = _scored(why, None)
    hits = np.cumsum(right)
    wanted = sum(int((~seen.truth.crowd).sum()) for seen in why.images)
    balance = 2 * hits / (np.arange(1, len(hits) + 1) + wanted)
    return float(scores[balance.argmax()]) if len(hits) else 0.0


def _scored(why: Diagnosis, label: int | None) -> tuple[Floats, np.ndarray]:
    """Scores, falling, and whether each detection (of a class) is right; those in crowds are left out."""
    scores, right = [np.zeros(0)], [np.zeros(0, np.bool_)]
    for seen, own in zip(why.images, why.judged, strict=True):
        chosen = own.kinds != "ignored"
        if label is not None:
            chosen &= seen.found.labels[own.rows] == label
        scores.append(seen.found.scores[own.rows[chosen]])
        right.append(own.kinds[chosen] == RIGHT)
    joined = np.concatenate(scores)
    order = np.argsort(-joined, kind="stable")
    return joined[order], np.concatenate(right)[order]


def _counts(why: Diagnosis) -> "Counter[int]":
    """How many objects there are of each class."""
    return Counter(int(label) for seen in why.images for label in seen.truth.labels[~seen.truth.crowd])


def _curves(why: Diagnosis) -> str:
    """Recall to the right, precision upwards, of the most frequent classes."""
    wanted = _counts(why)
    lines, names = [], []
    for place, (label, count) in enumerate(wanted.most_common(_CURVES)):
        _, right = _scored(why, label)
        hits = np.cumsum(right)
        recall, precision = hits / count, hits / np.arange(1, len(hits) + 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        points = " ".join(f"{60 + 400 * r:.1f},{320 - 300 * p:.1f}" for r, p in _thinned(recall, envelope))
        colour = _COLOURS[place % len(_COLOURS)]
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        text = f"{escape(why.classes[label])} ({count})"
        names.append(f'<text x="490" y="{40 + 22 * place}" fill="{colour}">{text}</text>')
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


def _confusion(why: Diagnosis, least: float) -> str:
    """Confusion matrix of the most frequent classes and background: ground truth in rows, predictions in columns."""
    kept = [
        own._replace(kinds=np.where(seen.found.scores[own.rows] >= least, own.kinds, "ignored"))
        for seen, own in zip(why.images, why.judged, strict=True)
    ]
    again = [own._replace(lost=_unfound(own)) for own in kept]
    counts = Counter(pairs(why.images, again))
    labels = [label for label, _ in _counts(why).most_common(_CLASSES)]
    columns = [*labels, -1]
    names = {**{label: escape(why.classes[label]) for label in labels}, -1: "nothing"}
    head = "<th></th>" + "".join(f"<th>{names[label]}</th>" for label in columns)
    rows = []
    for true in columns:
        total = sum(counts[true, found] for found in columns) or 1
        cells = []
        for found in columns:
            share, count = counts[true, found] / total, counts[true, found]
            colour = f"rgba({'31,157,87' if true == found else '224,69,47'},{share:.2f})"
            cells.append(f'<td style="background:{colour}">{count or ""}</td>')
        rows.append(f'<tr><th class="side">{names[true]}</th>{"".join(cells)}</tr>')
    note = (
        f"Rows are what is there, columns what was found, by detections that score {least:.2f} and more (the best F1)."
    )
    return f'<p class="small">{note}</p><table class="confusion"><thead><tr>{head}</tr></thead>{"".join(rows)}</table>'


def _unfound(own: Judged) -> np.ndarray:
    """Objects that are neither crowds, nor matched, nor covered by a detection of another class."""
    met = np.zeros(len(own.missed), np.bool_)
    met[own.meant[np.isin(own.kinds, (RIGHT, "classification"))]] = True
    single = own.missed.copy()
    single[own.meant[own.meant >= 0]] = True
    return single & ~met


def _worst(why: Diagnosis, least: float, images: Path | None) -> str:
    ranked = sorted(zip(why.images, why.judged, strict=True), key=lambda each: -_badness(*each))[:_IMAGES]
    note = f"Green was found, red is wrong, dashed yellow was missed; detections that score {least:.2f} and more."
    shown = "".join(_figure(why, seen, own, least, images) for seen, own in ranked if _badness(seen, own) > 0)
    return f'<p class="small">{note}</p><div class="images">{shown}</div>'


def _badness(seen: ImageRecord, own: Judged) -> float:
    """Objects missed, and wrong detections by their scores."""
    wrong = ~np.isin(own.kinds, (RIGHT, "ignored"))
    return float(own.lost.sum() + seen.found.scores[own.rows[wrong]].clip(0, 1).sum())


def _figure(why: Diagnosis, seen: ImageRecord, own: Judged, least: float, images: Path | None) -> str:
    height, width = seen.size
    if not height or not width:
        corners = np.concatenate((seen.truth.boxes, seen.found.boxes))
        width, height = (int(side) + 1 for side in corners[:, 2:].max(0, initial=1.0))
    unit = max(width, height) / 300
    picture = _picture(seen.file, images)
    drawn = [f'<image href="{picture}" width="{width}" height="{height}"/>'] if picture else []
    shown = np.flatnonzero(seen.found.scores[own.rows] >= least)
    missed = np.flatnonzero(own.missed)
    rest = max(0, len(shown) - _BOXES) + max(0, len(missed) - _BOXES)
    shown = np.sort(shown[np.argsort(own.kinds[shown] == RIGHT, kind="stable")][:_BOXES])  # errors are drawn first
    for row, kind in zip(own.rows[shown], own.kinds[shown], strict=True):
        if kind != "ignored":
            name = why.classes[int(seen.found.labels[row])]
            says = f"{name} {seen.found.scores[row]:.2f}" + ("" if kind == RIGHT else f": {kind}")
            drawn.append(_box(seen.found.boxes[row], "right" if kind == RIGHT else "wrong", says, unit))
    for row in missed[:_BOXES]:
        drawn.append(_box(seen.truth.boxes[row], "lost", f"{why.classes[int(seen.truth.labels[row])]} is missed", unit))
    image_id, wanted = (
        escape(short_name(Path(seen.file).name or str(seen.image_id), _LONGEST)),
        int((~seen.truth.crowd).sum()),
    )
    caption = f"{image_id}: {int(own.missed.sum())} missed of {wanted}"
    caption += f"; {rest} more boxes are not drawn" if rest else ""
    return (
        f'<figure><svg viewBox="0 0 {width} {height}">{"".join(drawn)}</svg><figcaption>{caption}</figcaption></figure>'
    )


def _box(box: Floats, style: str, says: str, unit: float) -> str:
    x, y, right, bottom = box.tolist()
    sides = f'x="{x:.1f}" y="{y:.1f}" width="{max(right - x, 0):.1f}" height="{max(bottom - y, 0):.1f}"'
    return f'<rect {sides} class="{style}" fill="none" stroke-width="{unit:.2f}"><title>{escape(says)}</title></rect>'


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
