"""The summary of a run: counts over all blocks, and a page of them that needs no other file."""

import html
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from det_ray.folder import write_whole

__all__ = ["Totals", "write_page"]

_LISTED = 200  # bad images on the page
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem; color: #1c2733; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; } td, th { padding: .2rem .8rem .2rem 0; text-align: left;
border-bottom: 1px solid #dde3e8; vertical-align: top; overflow-wrap: anywhere; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.bar { background: #2a7f86; height: .7rem; border-radius: 2px; }
.examples { display: flex; flex-wrap: wrap; gap: .8rem; }
.examples img { max-height: 15rem; max-width: 100%; border-radius: 4px; }
@media (prefers-color-scheme: dark) { body { background: #14191e; color: #dbe3ea; } td, th { border-color: #333d46; } }
"""


@dataclass
class Totals:
    """Sums over blocks.

    Attributes:
        images: number of rows.
        new_images: those of this run.
        bad: images without detections for a reason.
        empty: images in which nothing was found.
        seconds: time that workers spent, together.
        peak_mb: most memory of a worker, in MB.
        objects: number of objects by class.
        reasons: number of bad images by the beginning of their reason.
        bad_images: the first bad images and their reasons.
        workers: number of blocks by worker.
    """

    images: int = 0
    new_images: int = 0
    bad: int = 0
    empty: int = 0
    seconds: float = 0.0
    peak_mb: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    bad_images: list[tuple[str, str]] = field(default_factory=list)
    workers: Counter[str] = field(default_factory=Counter)

    def add(self, summary: Mapping[str, Any], since: float = 0.0) -> None:
        """Add a block; its images are new if it was begun after `since`."""
        self.images += summary["images"]
        self.new_images += summary["images"] if summary["began"] >= since else 0
        self.bad += summary["bad"]
        self.empty += summary["empty"]
        self.seconds += summary["seconds"]
        self.objects.update(summary["objects"])
        self.peak_mb = max(self.peak_mb, summary["peak_mb"])
        self.reasons.update(summary["reasons"])
        self.workers[summary["worker"]] += 1
        room = _LISTED - len(self.bad_images)
        self.bad_images += [(path, reason) for path, reason in summary["bad_images"][:room]]


def write_page(path: Path, about: Mapping[str, Any], totals: Totals, examples: Sequence[Path], pace: str) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        about: plan.json.
        totals: sums over all blocks.
        examples: pictures, which become part of the page.
        pace: a sentence about the time of the last run.
    """
    model, settings = about["model"], about["settings"]
    objects = sum(totals.objects.values())
    facts = [
        ("source", settings["source"]),
        ("model", f"{model['source']} (SHA-256 {model['sha256'][:16]}), scores from {settings['threshold']:.2f}"),
        ("images", f"{totals.images:,} in {about['blocks']:,} blocks"),
        ("bad images", f"{totals.bad:,}"),
        ("images without objects", f"{totals.empty:,}"),
        ("objects", f"{objects:,}"),
        ("time", pace),
        ("time of workers", f"{totals.seconds / max(totals.images, 1):.3f} s an image, {len(totals.workers)} workers"),
        ("memory of a worker", f"{totals.peak_mb:,} MB at most"),
        ("versions", ", ".join(f"{name} {version}" for name, version in about["versions"].items())),
    ]
    parts = [
        "<h1>det ray predict</h1>",
        _table((), [(name, html.escape(str(value))) for name, value in facts]),
        "<h2>Classes</h2>",
        _class_table(totals.objects),
        "<h2>Bad images</h2>",
        _bad_table(totals) if totals.bad else "<p>None.</p>",
        "<h2>Examples</h2>",
        '<div class="examples">' + "".join(map(_picture, examples)) + "</div>" if examples else "<p>None.</p>",
    ]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>det ray predict</title><style>{_STYLE}</style>'
    text = head + "\n".join(parts) + "</html>\n"
    write_whole(path, lambda file: file.write(text.encode()))


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are HTML."""
    head = "<tr>" + "".join(f"<th>{title}</th>" for title in titles) + "</tr>" if titles else ""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{head}{body}</table>"


def _class_table(objects: "Counter[str]") -> str:
    if not objects:
        return "<p>Nothing was found.</p>"
    most = max(objects.values())
    rows = [
        (html.escape(name), f"{count:,}", f'<div class="bar" style="width: {200 * count / most:.0f}px"></div>')
        for name, count in objects.most_common()
    ]
    return _table(("class", "objects", ""), rows)


def _bad_table(totals: Totals) -> str:
    reasons = [(f"{count:,}", html.escape(reason)) for reason, count in totals.reasons.most_common(30)]
    listed = [(html.escape(path), html.escape(reason)) for path, reason in totals.bad_images]
    more = totals.bad - len(listed)
    rest = f"<p>{more:,} more are in the results: rows whose column <code>error</code> is not null.</p>" if more else ""
    return _table(("images", "reason"), reasons) + _table(("image", "reason"), listed) + rest


def _picture(path: Path) -> str:
    return f'<img alt="" src="data:image/jpeg;base64,{b64encode(path.read_bytes()).decode()}">'
