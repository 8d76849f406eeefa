"""`det data check`: as text, as JSON and as a page."""

import importlib
import json

import pytest
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.data.formats.coco_checks import AnnotationCheck
from det_devkit import coco_files

check_module = importlib.import_module("det_inspect.datasets.check")  # the package has a function of this name


def run(*arguments, code=0):
    result = CliRunner().invoke(det, ["data", "check", *(str(each) for each in arguments)])
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture
def files(tmp_path):
    return coco_files.write(tmp_path, coco_files.content())


def test_data_check_valid_dataset_is_summarized(tmp_path, files):
    images, file = files
    said = run("--images", images, "--annotations", file, "--html", tmp_path / "page.html")
    assert "train: 3 images, 3 objects" in said
    assert "object sizes: 3 small, 0 medium, 0 large" in said
    assert "No defect was found." in said
    assert "were not read" not in said
    said = run("--images", images, "--annotations", file, "--heads")
    assert "No defect was found. The pixels of the images were not read." in said
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
    assert "\n1 defect." in run(recipe, "--split", "train", code=1)
    assert report["defects"][0]["id"] == "13"
    assert json.loads(run(recipe, "--split", "train", "--json", "--heads", code=1)) == report


def test_data_check_recipe_with_concat_is_checked(tmp_path, files):
    images, file = files
    part = f"{{type: coco, images: {images}, annotations: {file}}}"
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        f"extends: faster_rcnn_r50_fpn_1x\ndata:\n  train: {{type: concat, datasets: [{part}]}}\n"
        "  val: null\n  test: null\n"
    )
    assert "train: 3 images, 3 objects" in run(recipe)


def test_data_check_without_terminal_prints_progress_lines(tmp_path, files, monkeypatch):
    images, file = files
    arguments = ["data", "check", "--images", str(images), "--annotations", str(file)]
    assert CliRunner().invoke(det, arguments).stderr == ""
    monkeypatch.setattr("det_inspect.cli.data._SECONDS", 0.0)
    result = CliRunner().invoke(det, [*arguments, "--json"])
    assert result.stderr.splitlines() == [f"train: {number} of 3 images" for number in range(3)]
    json.loads(result.stdout)


def test_data_check_reads_each_image_and_entry_once(tmp_path, monkeypatch):
    # Counted, not timed: what grows with the square of the images would show here.
    data = coco_files.content(3)
    data["images"] = [{**data["images"][0], "id": n, "file_name": f"{n}.png"} for n in range(300)]
    data["annotations"] = [{**data["annotations"][0], "id": n, "image_id": n} for n in range(300)]
    images, file = coco_files.write(tmp_path, data)
    opened, checked = [], []
    read, faults = check_module.read_image, AnnotationCheck.faults
    monkeypatch.setattr(check_module, "read_image", lambda path: (opened.append(path), read(path))[1])
    monkeypatch.setattr(
        AnnotationCheck, "faults", lambda self, record: (checked.append(record), faults(self, record))[1]
    )
    run("--images", images, "--annotations", file)
    assert (len(opened), len(checked)) == (300, 300)
