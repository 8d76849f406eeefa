"""A page in the chromium of this machine; an uncaught error of its scripts fails the test."""

import contextlib
import shutil

CHROMIUM = shutil.which("chromium")


@contextlib.contextmanager
def opened_page(*flags):
    """An empty page of a browser started with these flags."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *flags])
        opened = browser.new_page(viewport={"width": 900, "height": 960})
        opened.problems = []
        opened.on("pageerror", lambda error: opened.problems.append(str(error)))
        yield opened
        browser.close()
    assert opened.problems == []
