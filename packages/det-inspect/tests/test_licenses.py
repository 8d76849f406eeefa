"""Licences of what recipes bring."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.zoo import published
from det_inspect.licenses import data_license, package_license, weights_license

RECIPE = """\
model: {type: faster_rcnn, num_classes: 2, backbone: {type: fpn, bottom_up: {type: resnet, depth: 18}}}
weights: {source: "detectron2://ImageNetPretrained/MSRA/R-50.pkl", into: backbone}
data:
  train: {type: coco, images: images, annotations: cells.json}
  val: {type: coco, images: "coco/val2017", annotations: "coco/annotations/instances_val2017.json"}
"""


def test_weights_license_is_that_of_their_source() -> None:
    models = published.models()
    assert weights_license(models["COCO-Detection/faster_rcnn_R_50_FPN_3x"].weights or "") == "CC-BY-SA-3.0"
    assert weights_license("detectron2://ImageNetPretrained/MSRA/R-50.pkl").startswith("CC-BY-SA-3.0 (detectron2")
    assert weights_license("https://download.pytorch.org/models/x.pth").startswith("BSD-3-Clause")
    assert weights_license("mine.pth").startswith("not known")
    named = [model for model in models.values() if model.weights]
    assert not [model.name for model in named if weights_license(model.weights or "").startswith("not known")]
    assert not [model.name for model in models.values() if data_license(model.data).startswith("not known")]


def test_package_license_is_read_from_metadata() -> None:
    assert package_license("det-core") == "Apache-2.0"
    assert "BSD" in package_license("click")


def test_licenses_lists_weights_data_and_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    content = {"images": [], "annotations": [], "categories": [], "licenses": [{"id": 1, "name": "CC0 1.0"}]}
    (tmp_path / "cells.json").write_text(json.dumps(content))
    result = CliRunner().invoke(det, ["licenses", "recipe.yaml", "--json"])
    assert result.exit_code == 0, result.output
    rows = {(each["kind"], each["name"]): each["terms"] for each in json.loads(result.stdout)}
    assert rows["weights", "detectron2://ImageNetPretrained/MSRA/R-50.pkl"].startswith("CC-BY-SA-3.0")
    data = {name: terms for (kind, name), terms in rows.items() if kind == "data"}
    assert data["train: cells.json"] == "CC0 1.0"
    assert next(terms for name, terms in data.items() if name.startswith("val")).startswith("annotations CC BY 4.0")
    assert rows["package", "det-core"] == "Apache-2.0"
    assert {"torch", "click"} <= {name for kind, name in rows if kind == "package"}


def test_zoo_show_has_the_licenses_of_weights_and_annotations() -> None:
    result = CliRunner().invoke(det, ["zoo", "show", "COCO-Detection/faster_rcnn_R_50_FPN_3x"])
    assert re.search(r"license of the weights +CC-BY-SA-3\.0\n", result.output)
    assert re.search(r"license of the annotations +annotations CC BY 4\.0;", result.output)
