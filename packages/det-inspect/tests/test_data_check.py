"""`det data check`: as text, as JSON and as a page."""

import json

import coco_files
import pytest
from click.testing import CliRunner
from det_core.cli.main import det


def run(*arguments, code=0):
    result = CliRunner().invoke(det, ["data", "check", *(str(each) for each in arguments)])
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture
def files(tmp_path):
    return coco_files.write(tmp_path, coco_files.content())


def test_a_sound_set_is_described(tmp_path, files):
    images, file = files
    said = run("--images", images, "--annotations", file, "--html", tmp_path / "page.html")
    assert "train: 3 images, 3 objects" in said
    assert "object sizes: 3 small, 0 medium, 0 large" in said
    assert "No defect was found." in said
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_defects_are_listed_and_fail_the_command(tmp_path, files):
    images, file = files
    (images / "2.png").unlink()
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        f"extends: faster_rcnn_r50_fpn_1x\ndata:\n  train: {{type: coco, images: {images}, annotations: {file}}}\n"
        f"  val: {{type: coco, images: {images}, annotations: {file}, keep_empty: false}}\n  test: null\n"
    )
    said = run(recipe, code=1)
    assert "missing image: 2" in said
    assert "split overlap: 2" in said
    assert "4 defects" in said
    report = json.loads(run(recipe, "--split", "train", "--json", code=1))
    assert report["counts"] == {"missing image": 1}
    assert report["defects"][0]["id"] == "13"
    assert json.loads(run(recipe, "--split", "train", "--json", "--heads", code=1)) == report


def test_a_dataset_of_any_reader_is_looked_at(tmp_path, files):
    images, file = files
    part = f"{{type: coco, images: {images}, annotations: {file}}}"
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        f"extends: faster_rcnn_r50_fpn_1x\ndata:\n  train: {{type: concat, datasets: [{part}]}}\n"
        "  val: null\n  test: null\n"
    )
    assert "train: 3 images, 3 objects" in run(recipe)
