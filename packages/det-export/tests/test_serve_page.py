"""The pages of `det serve` in a browser, a chromium of the machine."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
playwright = pytest.importorskip("playwright.sync_api")

from chromium import CHROMIUM, opened_page  # noqa: E402
from det_core.predict import Detector  # noqa: E402
from det_export.serve.settings import Limits  # noqa: E402
from small_servers import BlockDetector, png, running  # noqa: E402

ROOT = Path(__file__).parents[3]
CELLS = ROOT / "examples" / "blood-cells"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="there is no chromium")]


@pytest.fixture
def page():
    with opened_page() as opened:
        yield opened


def counted(page):
    """How many objects the table of the page has."""
    return sum(int(text) for text in page.locator("#counts td:nth-child(2)").all_inner_texts())


def test_page_draws_cells_and_slider_filters(page, tmp_path):
    detector = Detector.load(CELLS / "detector.safetensors", device="cpu")
    picture = CELLS / "images" / "BloodImage_00007.jpg"
    with running({"cells": detector}, replace(Limits(), queue=8)) as server:
        page.goto(server.url)
        playwright.expect(page.locator("#token")).to_be_hidden()
        page.set_input_files("#file", picture)
        playwright.expect(page.locator("#status")).to_contain_text("ms", timeout=60_000)
        assert counted(page) == len(detector(picture, threshold=float(page.input_value("#threshold")))) > 3
        page.screenshot(path=tmp_path / "serve.png")
        page.fill("#threshold", "0.95")
        assert counted(page) == len(detector(picture, threshold=0.95))
        page.goto(f"{server.url}/docs")
        playwright.expect(page.locator("h2", has_text="POST /predict/{model}")).to_be_visible()


def test_page_asks_for_token_and_reports_errors(page):
    with running({"blocks": BlockDetector()}, token="secret") as server:
        page.goto(server.url)
        playwright.expect(page.locator("#status")).to_contain_text("needs 'Bearer TOKEN'")
        page.fill("#token", "secret")
        page.press("#token", "Tab")
        playwright.expect(page.locator("#model option")).to_have_text(["blocks"])
        page.set_input_files("#file", {"name": "a.txt", "mimeType": "image/png", "buffer": b"text"})
        playwright.expect(page.locator("#status.error")).to_be_visible()
        page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": png(2)})
        playwright.expect(page.locator("#counts")).to_contain_text("c")
