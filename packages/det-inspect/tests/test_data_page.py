"""The page of `det data check`: complete by itself, and nothing in it is what a class or a file is called."""

import re
from functools import partial
from pathlib import Path

from det_core.data import CocoDataset
from det_devkit import coco_files
from det_inspect.datasets.check import check
from det_inspect.datasets.page import data_page


def test_data_page_shows_defects_without_external_resources(tmp_path: Path) -> None:
    data = coco_files.content(3)
    data["categories"][0]["name"] = "<script>alert(1)</script>"
    data["annotations"][0]["bbox"] = [30, 2, 15, 4]
    data["annotations"][1]["bbox"] = [1, 1, -2, 1e29]
    images, file = coco_files.write(tmp_path, data)
    page = data_page(check({"train": partial(CocoDataset.listing, images, file)}), "cells & more")
    assert "cells &amp; more" in page
    assert "box outside: 1" in page
    assert "negative box: 1" in page
    # Two of defects, three examples.
    assert page.count('<img src="data:image/jpeg;base64,') == 5
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert page.count("<rect") == 24


def test_empty_page_is_a_page(tmp_path: Path) -> None:
    missing = partial(CocoDataset.listing, tmp_path, tmp_path / "no.json")
    page = data_page(check({"train": missing}), "nothing")
    assert "unreadable file: 1" in page
    assert page.rstrip().endswith("</html>")
