"""The page of an evaluation: one file with all that was found out, whatever names and pictures hold."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.errors import ConfigError
from det_inspect.analysis.error_analysis import ErrorAnalysis, analyze_errors
from det_inspect.analysis.image_records import ImageRecord, Objects
from det_inspect.analysis.page import page, write_page
from PIL import Image

BOX, OTHER = (10.0, 10.0, 40.0, 40.0), (60.0, 20.0, 90.0, 50.0)
NAMES = ("cell", "<script>alert(1)</script>")


def objects(*entries: tuple[tuple[float, ...], int, float]) -> Objects:
    return Objects(
        boxes=np.array([box for box, _, _ in entries], np.float64).reshape(-1, 4),
        labels=np.array([label for _, label, _ in entries], np.int64),
        scores=np.array([score for _, _, score in entries], np.float64),
        crowd=np.zeros(len(entries), np.bool_),
    )


def error_analysis(file: str = "") -> ErrorAnalysis:
    """One image: one object is found, one called by the other class; something is found where nothing is."""
    truth = objects((BOX, 0, 1), (OTHER, 1, 1))
    found = objects((BOX, 0, 0.9), (OTHER, 0, 0.8), ((0, 60, 9, 70), 1, 0.95))
    return analyze_errors([ImageRecord("im & 1", (80, 100), truth, found, file)], NAMES)


class Rows(HTMLParser):
    """Collects the cells of each row of a page, and that its tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)


def rows(text: str) -> list[list[str]]:
    parser = Rows()
    parser.feed(re.sub(r"<\w+[^<>]*/>", "", text))
    assert parser.open == []
    return parser.rows


def test_page_shows_metrics_errors_and_confusions() -> None:
    text = page("run", {"bbox/AP": 0.25, "bbox/AP/cell": None, "loss": 1.5}, ["no bbox/AP/cell: why"], error_analysis())
    found = rows(text)
    assert ["AP", "0.2500"] in [row[:2] for row in found]
    assert ["loss", "1.5000"] in found
    assert ["classification", "1"] in [row[:2] for row in found]
    assert "no bbox/AP/cell: why" in text
    assert "No issues of format" in text
    # Down what is there, across what was found: the cell is a cell, the other one was taken for a cell.
    assert ["cell", "1"] in found
    assert [NAMES[1], "1"] in found


def test_page_escapes_names_and_loads_no_resources() -> None:
    text = page("<b>x</b>", {"bbox/AP/<i>": 1.0}, ["<u>"], error_analysis())
    assert "<script" not in text
    assert "<b>x" not in text
    assert "<i>" not in text
    assert "<u>" not in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "im &amp; 1" in text


def test_page_shows_worst_images_with_error_types(tmp_path: Path) -> None:
    Image.new("RGB", (100, 80), (200, 30, 30)).save(tmp_path / "a.png")
    text = page("run", {}, [], error_analysis(str(tmp_path / "a.png")))
    (encoded,) = re.findall(r"data:image/jpeg;base64,([\w+/=]+)", text)
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (100, 80)
    assert ": background</title>" in text
    assert ": classification</title>" not in text  # it scores less than what gives the best F1
    assert text.count('class="right"') == 1


def test_pictures_outside_the_folder_or_broken_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (100, 80)).save(tmp_path / "secret.png")
    (folder / "broken.png").write_bytes(b"\x89PNG nothing")
    for file in ("../secret.png", str(tmp_path / "secret.png"), "broken.png", "none.png", ""):
        assert "base64" not in page("run", {}, [], error_analysis(file), images=folder)


def test_page_without_objects_is_written() -> None:
    assert "Metrics" in page("run", {"semantic/mIoU": 0.5}, [], None)
    none = objects()
    rows(page("run", {}, [], analyze_errors([ImageRecord(1, (0, 0), none, none)], NAMES)))
    rows(page("run", {}, [], analyze_errors([ImageRecord(1, (0, 0), objects((BOX, 0, 1)), none)], NAMES)))


def test_page_folder_that_cannot_be_created_is_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="the report cannot be written"):
        write_page(tmp_path / "file" / "report", "run", {}, [], None)


def test_results_in_files_get_their_page(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (100, 80)).save(tmp_path / "images" / "a.png")
    own = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20]}
    truth = {
        "images": [{"id": 1, "file_name": "a.png", "height": 80, "width": 100}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [{"id": 1, "area": 400, "iscrowd": 0, **own}],
    }
    (tmp_path / "t.json").write_text(json.dumps(truth))
    (tmp_path / "f.json").write_text(json.dumps([{**own, "bbox": [60, 40, 20, 20], "score": 0.9}]))
    files = ["--predictions", str(tmp_path / "f.json"), "--annotations", str(tmp_path / "t.json")]
    more = ["--images", str(tmp_path / "images"), "--report", str(tmp_path / "report")]
    result = CliRunner().invoke(det, ["eval", *files, *more])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "report" / "index.html").read_text()
    assert "base64" in page
    assert "<figcaption>a.png: 1 missed of 1" in page


def test_page_of_crowded_images_and_long_names_stays_small() -> None:
    count = 3000
    boxes = np.array([[x, y, x + 5, y + 5] for x in range(60) for y in range(50)], np.float64) * 10
    labels = np.zeros(count, np.int64)
    truth = Objects(boxes[:10], labels[:10], np.ones(10), np.zeros(10, np.bool_))
    found = Objects(boxes + 500, labels, np.ones(count), np.zeros(count, np.bool_))
    images = [ImageRecord(f"{number}{'i' * 10_000}", (600, 700), truth, found) for number in range(3)]
    names = ("n" * 1_000_000, "n" * 1_000_000 + "2")
    text = page(
        "t" * 1_000_000, {f"bbox/AP/{name}": 0.5 for name in names}, ["no " * 100_000], analyze_errors(images, names)
    )
    assert len(text) < 2_000_000
    assert text.count("bbox") >= 1
    few = analyze_errors([images[0]._replace(detections=truth)], names)
    assert "more boxes are not drawn" not in page("t", {}, [], few)
