"""The site of the documentation: links lead to pages of the site, and `mkdocs build --strict` reports nothing."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXTERNAL = re.compile(r"<(?:script|img|link)[^>]*(?:src|href)=\"?https?://[^\">\s]+")

pytest.importorskip("mkdocs", reason="mkdocs-material is not installed; `nox -s docs` installs it")


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs" / "site_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("README.md", "index.md"),
        ("docs/README.md", "all-pages.md"),
        ("docs/data.md", "data.md"),
        ("packages/det-core/README.md", "repository/packages-det-core.md"),
        ("examples/own_loop.py", "repository/examples/own_loop.py.md"),
        ("docs/images/demo.png", "images/demo.png"),
    ],
)
def test_site_path_of_repository_path(pages, path, place):
    assert pages.site_path(path) == place


def test_resolve_folder_gives_readme(pages):
    assert pages.resolve("docs/data.md", "../packages/det-core") == "packages/det-core/README.md"
    assert pages.resolve("docs/data.md", "nosuch.md") == ""
    assert pages.resolve("README.md", "../outside.md") == ""


def test_links_leaves_out_code_anchors_and_other_hosts(pages):
    text = "[a](a.md#b) [b](https://x.y) [c](#d)\n```text\n[d](d.md)\n```\n[e]: e.md\n"
    assert pages.links(text) == ["a.md#b", "e.md"]


def test_navigation_has_every_page_of_docs_once(pages):
    def places(node):
        if isinstance(node, str):
            return [node]
        return [place for each in (node.values() if isinstance(node, dict) else node) for place in places(each)]

    listed = places(pages.navigation())
    assert len(listed) == len(set(listed))
    own = {pages.site_path(str(path.relative_to(ROOT))) for path in (ROOT / "docs").rglob("*.md")}
    assert own <= set(listed)


def build(folder, *words):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_site_build_is_strict_and_asks_no_other_host(tmp_path):
    built = build(tmp_path / "site")
    assert built.returncode == 0, built.stdout + built.stderr
    html = [path.read_text("utf-8") for path in (tmp_path / "site").rglob("*.html")]
    assert len(html) > 60
    assert not [match for text in html for match in EXTERNAL.findall(text)]
    first = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert 'href="install.html"' in first
    assert "First prediction" in first
