"""The results of `det data check` as one self-contained page: counts, defects, and examples of both."""

import base64
import io
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import torch
from det_core.data import read_image
from det_core.errors import DataError
from det_core.structures import Targets
from det_core.visual.draw import class_color, draw
from det_core.zoo.class_names import short_name
from PIL import Image, ImageDraw

from det_inspect.counting import counted
from det_inspect.datasets.report import KINDS, Defect, Example, Report, SplitReport

__all__ = ["data_page"]

_MAX_LISTED, _PICTURES, _SIDE, _BINS = 50, 3, 420, 24
_RED, _WORDS = (230, 30, 30), 400

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1e1e1e; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { margin-top: 2.4rem; border-bottom: 1px solid #ddd } h3 { margin: 1.4rem 0 .4rem }
table { border-collapse: collapse; margin: .6rem 0 } td, th { padding: .2rem .7rem .2rem 0; text-align: left }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } td.bar { width: 20rem }
td.bar div { height: .8rem; border-radius: 2px } .wide { overflow-wrap: anywhere }
figure { display: inline-block; margin: 0 1rem 1rem 0; vertical-align: top; max-width: 420px }
figcaption { font-size: 13px; color: #555; overflow-wrap: anywhere } img { max-width: 100%; display: block }
.good { color: #17803d } .bad { color: #b3261e } details { margin: .4rem 0 } summary { cursor: pointer }
"""


def data_page(report: Report, title: str) -> str:
    """The page, as HTML."""
    count = len(report.defects)
    said = (
        '<p class="good">No defect was found.</p>' if not count else f'<p class="bad">{counted(count, "defect")}.</p>'
    )
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>{said}",
        _overview(report),
    ]
    for kind in report.counts():
        parts.append(_kind(kind, [defect for defect in report.defects if defect.kind == kind]))
    parts += [_split(name, split) for name, split in report.splits.items()]
    return "\n".join([*parts, "</body></html>", ""])


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table whose columns after the first are numbers."""
    lines = ["<table><tr>" + "".join(_cell(each, "th", place) for place, each in enumerate(head)) + "</tr>"]
    lines += ["<tr>" + "".join(_cell(each, "td", place) for place, each in enumerate(row)) + "</tr>" for row in rows]
    return "\n".join([*lines, "</table>"])


def _cell(value: Any, tag: str, place: int) -> str:
    return f"<{tag}{' class=n' if place else ''}>{escape(str(value))}</{tag}>"


def _overview(report: Report) -> str:
    figures = {name: split.summary() for name, split in report.splits.items()}
    names = ("images", "images without objects", "objects", "crowds", "with masks", "with keypoints")
    rows: list[list[Any]] = [[name, *(each[name] for each in figures.values())] for name in names]
    for name in ("image width", "image height", "object side"):
        rows.append([f"{name}, pixels", *(_span(each[name]) for each in figures.values())])
    for name in ("small", "medium", "large"):
        rows.append([f"{name} objects", *(each["object sizes"][name] for each in figures.values())])
    for what in dict.fromkeys(what for each in figures.values() for what in each["left out"]):
        rows.append([f"{what}, left out", *(each["left out"].get(what, 0) for each in figures.values())])
    counts = report.counts()
    defects = _table(["defects", ""], list(counts.items())) if counts else ""
    return _table(["", *figures], rows) + defects


def _span(value: Any) -> str:
    return "-" if value is None else f"{value['min']:g} … {value['median']:g} … {value['max']:g}"


def _split(name: str, split: SplitReport) -> str:
    """Histograms of classes and sizes, and examples."""
    classes = split.summary()["classes"]
    most = max([each["objects"] for each in classes.values()], default=0) or 1
    ordered = sorted(enumerate(classes.items()), key=lambda item: -item[1][1]["objects"])
    rows = [
        f"<tr><td>{escape(short_name(each))}</td><td class=n>{counts['objects']}</td>"
        f"<td class=n>{counts['images']}</td>"
        f'<td class=bar><div style="width:{100 * counts["objects"] / most:.1f}%;'
        f'background:rgb{class_color(label)}"></div></td></tr>'
        for label, (each, counts) in ordered
    ]
    head = "<table><tr><th>class</th><th class=n>objects</th><th class=n>images</th><th></th></tr>"
    first, rest = rows[:_MAX_LISTED], rows[_MAX_LISTED:]
    more = f"<details><summary>{len(rest)} more</summary>{head}{''.join(rest)}</table></details>" if rest else ""
    figures = "".join(figure for example in split.examples for figure in _example(example, split.classes))
    return (
        f"<h2>{escape(name)}</h2>{head}{''.join(first)}</table>{more}"
        f"<h3>Sides of objects, pixels</h3>{_histogram([area**0.5 for area in split.areas])}"
        f"<h3>Examples</h3>{figures or '<p>none</p>'}"
    )


def _histogram(values: Sequence[float]) -> str:
    """How many values lie in each half octave, as a drawing."""
    positive = torch.tensor([value for value in values if value > 0], dtype=torch.float64)
    if not len(positive):
        return "<p>none</p>"
    places = (positive.log2() * 2).floor().clamp(0, _BINS - 1).long()
    counts = torch.bincount(places, minlength=_BINS).tolist()
    width, height, most = 30, 120, max(counts)
    bars = [
        f'<rect x="{place * width + 2}" y="{height - height * count / most:.1f}" width="{width - 4}" '
        f'height="{height * count / most:.1f}" fill="#4a78c4"><title>{2 ** (place / 2):.0f} to '
        f"{2 ** ((place + 1) / 2):.0f}: {count}</title></rect>"
        for place, count in enumerate(counts)
    ]
    marks = [
        f'<text x="{place * width}" y="{height + 16}" font-size="12">{2 ** (place // 2)}</text>'
        for place in range(0, _BINS, 2)
    ]
    return f'<svg width="{_BINS * width}" height="{height + 22}" role="img">{"".join(bars + marks)}</svg>'


def _example(example: Example, classes: Sequence[str]) -> Iterator[str]:
    try:
        image = read_image(example.image)
    except DataError:
        return
    objects = Targets(
        boxes=torch.tensor(example.boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(example.labels, dtype=torch.int64),
    )
    yield _figure(draw(image, objects, classes), example.image.name)


def _kind(kind: str, defects: Sequence[Defect]) -> str:
    """One kind of defect: images of the first ones, a list, and the number not shown."""
    figures = [figure for defect in _with_pictures(defects) for figure in _offender(defect)]
    rows = "".join(
        f"<tr><td>{escape(each.split)}</td><td>{escape(short_name(each.id))}</td>"
        f"<td class=wide>{escape(short_name(each.text, _WORDS))}</td>"
        f"<td class=wide>{escape(short_name(Path(each.file).name, _WORDS))}</td></tr>"
        for each in defects[:_MAX_LISTED]
    )
    rest = f"<p>and {len(defects) - _MAX_LISTED} more, in the JSON</p>" if len(defects) > _MAX_LISTED else ""
    return (
        f"<h2>{escape(kind)}: {len(defects)}</h2><p>{escape(KINDS[kind])}</p>{''.join(figures)}"
        f"<table><tr><th>split</th><th>id</th><th>what</th><th>file</th></tr>{rows}</table>{rest}"
    )


def _with_pictures(defects: Sequence[Defect]) -> list[Defect]:
    return [defect for defect in defects if defect.image is not None][:_PICTURES]


def _offender(defect: Defect) -> Iterator[str]:
    """The image of a defect, with its place in red."""
    assert defect.image is not None
    try:
        image = read_image(defect.image)
    except DataError:
        return
    picture = draw(image, Targets(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64)))
    if defect.box is not None:
        # A box that reaches out is shown with its surroundings; one without extent as a small square around its place.
        x0, y0, x1, y1 = (max(-1e5, min(each, 1e5)) for each in defect.box)
        unit = max(2, round(min(picture.size) / 150))
        x0, x1, y0, y1 = min(x0, x1) - unit, max(x0, x1) + unit, min(y0, y1) - unit, max(y0, y1) + unit
        ImageDraw.Draw(picture).rectangle((x0, y0, x1, y1), outline=_RED, width=unit)
    yield _figure(picture, f"{defect.image.name}: {defect.text}")


def _figure(picture: Image.Image, caption: str) -> str:
    picture.thumbnail((_SIDE, _SIDE))
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=85)
    source = base64.b64encode(content.getvalue()).decode()
    words = escape(caption if len(caption) < 200 else f"{caption[:200]}…")
    return f'<figure><img src="data:image/jpeg;base64,{source}" alt=""><figcaption>{words}</figcaption></figure>'
