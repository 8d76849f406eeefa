"""The page of `det view` in a browser, a chromium of the machine."""

import json
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
playwright = pytest.importorskip("playwright.sync_api")

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT / "packages" / "det-export" / "tests"))

from chromium import CHROMIUM, opened_page  # noqa: E402
from det_inspect.view.predictions import read_predictions  # noqa: E402
from det_inspect.view.session import Session  # noqa: E402
from viewing import (  # noqa: E402
    FIRST,
    SCRIPT,
    SECOND,
    add_steps,
    running,
    session_of,
    write_results,
    write_run,
    write_set,
)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="there is no chromium")]
expect = playwright.expect
SHOTS = os.environ.get("DET_SCREENSHOTS")


@pytest.fixture
def page():
    with opened_page() as opened:
        opened.set_default_timeout(20_000)
        yield opened


def shot(page, name):
    """A screenshot for a reader, in the folder DET_SCREENSHOTS if it is set."""
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png")


def tiles(page):
    return page.locator(".tile .caption span:first-child")


def test_page_lists_filters_and_opens_pictures(page, tmp_path):
    with running(session_of(write_set(tmp_path / "set"), tmp_path / "cache")) as server:
        page.goto(server.url)
        expect(tiles(page)).to_have_text(["a.png", "b.tif", "broken.jpg", "missing.jpg"], timeout=20_000)
        broken = page.locator(".tile .broken")
        expect(broken).to_have_count(2)
        expect(broken.nth(1)).to_contain_text("missing")
        expect(page.locator("#counts-defect")).to_contain_text("missing image")
        shot(page, "list")
        expect(page.locator("#counts-class")).to_contain_text(SCRIPT)
        assert page.title() == "val.json - det view"
        page.click("#counts-class button:has-text('script')")
        expect(tiles(page)).to_have_text(["a.png"])
        page.locator(".tile").first.click()
        expect(page.locator("#name")).to_have_text("a.png")
        expect(page.locator("#stage svg rect.shape")).to_have_count(3)
        expect(page.locator("#stage svg path.mask")).to_have_count(1)
        expect(page.locator("#stage svg text", has_text="script")).to_have_text(SCRIPT)
        expect(page.locator("#facts")).to_contain_text("box outside")
        assert "rotate(-30 40 30)" in page.locator("#stage svg rect.shape").nth(1).get_attribute("transform")
        page.hover("#facts tr >> nth=1")
        expect(page.locator("#stage g.active")).to_have_count(1)
        shot(page, "picture")
        page.keyboard.press("Escape")
        expect(page.locator("#picture")).to_be_hidden()
        page.click("#clear")
        expect(tiles(page)).to_have_count(4)


def test_keys_move_open_and_search(page, tmp_path):
    with running(session_of(write_set(tmp_path / "set"), tmp_path / "cache")) as server:
        page.goto(server.url)
        expect(tiles(page)).to_have_count(4)
        page.keyboard.press("j")
        expect(page.locator(".tile.current")).to_contain_text("b.tif")
        page.keyboard.press("Enter")
        expect(page.locator("#stage svg circle.joint")).to_have_count(2)
        expect(page.locator("#stage svg line.limb")).to_have_count(1)
        page.keyboard.press("ArrowRight")
        expect(page.locator("#name")).to_have_text("broken.jpg")
        expect(page.locator("#stage .error")).to_contain_text("broken.jpg")
        page.keyboard.press("k")
        expect(page.locator("#name")).to_have_text("b.tif")
        page.keyboard.press("Escape")
        page.keyboard.press("/")
        page.keyboard.type("missing")
        expect(tiles(page)).to_have_text(["missing.jpg"])
        assert "text=missing" in page.url
        page.reload()
        expect(tiles(page)).to_have_text(["missing.jpg"])


def test_page_fits_phones_and_darkness(page, tmp_path):
    page.set_viewport_size({"width": 390, "height": 780})
    page.emulate_media(color_scheme="dark")
    with running(session_of(write_set(tmp_path / "set"), tmp_path / "cache")) as server:
        page.goto(server.url)
        expect(tiles(page)).to_have_count(4)
        expect(page.locator("#filters")).to_be_hidden()
        page.click("#more")
        expect(page.locator("#filters")).to_be_visible()
        page.click("#more")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 28)"
        page.locator(".tile").first.click()
        expect(page.locator("#stage svg")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        shot(page, "phone")


def test_page_compares_predictions_of_two_files(page, tmp_path):
    pictures = session_of(write_set(tmp_path / "set"), tmp_path / "cache").set
    files = [write_results(tmp_path / f"{name}.json", each) for name, each in (("first", FIRST), ("second", SECOND))]
    predictions = [read_predictions(file, pictures) for file in files]
    with running(Session("val", pictures, tmp_path / "cache", predictions)) as server:
        page.goto(server.url)
        expect(page.locator("#counts-kind")).to_contain_text("wrong class")
        page.select_option("#filter-sort", "worst")
        expect(tiles(page).first).to_have_text("a.png")
        expect(page.locator(".tile").first.locator(".badge.wrong")).to_have_text(["✗ 2", "✗ 2"])
        page.click("#counts-kind button:has-text('wrong class')")
        expect(tiles(page)).to_have_text(["b.tif"])
        page.click("#clear")
        page.locator(".tile", has_text="a.png").click()
        panels = page.locator("#stage .panel")
        expect(panels).to_have_count(3)
        expect(panels.nth(1)).to_contain_text("first.json: 3 detections, 1 wrong, 1 missed")
        page.fill("#score", "0.3")
        expect(panels.nth(1)).to_contain_text("first.json: 4 detections, 2 wrong, 1 missed")
        expect(panels.nth(2)).to_contain_text("second.json: 1 detection, 0 wrong, 2 missed")
        shot(page, "compare")
        page.fill("#iou", "0.7")
        page.dispatch_event("#iou", "change")
        expect(panels.nth(2)).to_contain_text("second.json: 1 detection, 1 wrong, 3 missed")
        expect(page.locator("#facts")).to_contain_text("poor overlap")
        page.keyboard.press("Escape")
        page.select_option("#filter-sort", "difference")
        expect(tiles(page).first).to_have_text("b.tif")


def test_cell_of_confusion_matrix_lists_its_pictures(page, tmp_path):
    pictures = session_of(write_set(tmp_path / "set"), tmp_path / "cache").set
    predictions = [read_predictions(write_results(tmp_path / "first.json", FIRST), pictures)]
    run = write_run(tmp_path / "run", tmp_path / "set" / "val.json")
    with running(Session("val", pictures, tmp_path / "cache", predictions, [run])) as server:
        page.goto(server.url)
        page.click("#tab-figures")
        expect(page.locator("#confusion")).to_contain_text(SCRIPT)
        expect(page.locator("#filters")).to_be_hidden()
        shot(page, "figures")
        page.fill("#score", "0.3")
        page.dispatch_event("#score", "change")
        page.click("#confusion button[title='nothing as cell: 1']")
        expect(tiles(page)).to_have_text(["a.png"])
        assert "predicted=0" in page.url
        expect(page.locator("#filters .cell")).to_have_text(["object: nothing", "detection: cell"])
        page.click("#tab-figures")
        page.locator("#figures .chart").click(position={"x": 60, "y": 60})
        expect(page.locator("#filter-sort")).to_have_value("worst")
        page.click("#tab-runs")
        expect(page.locator("#metrics")).to_contain_text("20 of 40")
        add_steps(run, [{"step": 40, "loss": 0.1, "lr": 0.1, "val/bbox/AP": 0.4}])
        expect(page.locator("#metrics")).to_contain_text("finished, 40 steps")
        expect(page.locator("#runs .chart polyline")).to_have_count(3)
        shot(page, "runs")


def test_page_marks_writes_and_exports(page, tmp_path):
    file = write_set(tmp_path / "set")
    with running(session_of(file, tmp_path / "cache", output=tmp_path / "out")) as server:
        page.goto(server.url)
        expect(tiles(page)).to_have_count(4)
        page.keyboard.press("x")
        expect(page.locator(".tile.picked")).to_have_count(1)
        page.locator(".tile").first.click()
        page.locator("#facts .mark").nth(1).click()
        expect(page.locator("#facts tr.bad")).to_have_count(1)
        page.keyboard.press("b")  # takes the mark of the focused row away
        expect(page.locator("#facts tr.bad")).to_have_count(0)
        page.keyboard.press("b")
        expect(page.locator("#facts tr.bad")).to_have_count(1)
        page.keyboard.press("Escape")
        page.fill("#corrected-val", "val.json")
        page.click("#corrected-val-write")
        expect(page.locator("#done")).to_contain_text("6 annotations, 1 removed")
        page.click("#corrected-val-write")
        expect(page.locator("#status")).to_contain_text("is not overwritten")
        page.click("#export-write")
        expect(page.locator("#done")).to_contain_text("1 pictures")
        shot(page, "marks")
        page.click("#marked")
        expect(tiles(page)).to_have_text(["a.png"])
    assert (tmp_path / "out" / "picked" / "images" / "val" / "a.png").exists()
    assert len(json.loads((tmp_path / "out" / "val.json").read_text("utf-8"))["annotations"]) == 6
