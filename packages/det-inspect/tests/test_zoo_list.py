"""`det zoo list` and `det zoo show` tell what is published and what builds it."""

import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.zoo import published

UNVERIFIED = "not verified by us"


def run(*arguments):
    return CliRunner().invoke(det, ["zoo", *arguments])


def row(output, name):
    (line,) = (line for line in output.splitlines() if f" {name} " in line)
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_zoo_list_has_metrics_and_package_of_models(without):
    without("det-pointrend")
    result = run("list")
    assert result.exit_code == 0
    name = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"
    assert row(result.output, name)[1:] == [
        "instances",
        "41.0",
        "37.2",
        "",
        "0.043",
        "3.4",
        "yes",
        "mask_rcnn_r50_fpn_3x",
    ]
    name = "COCO-Keypoints/keypoint_rcnn_R_50_FPN_3x"
    assert row(result.output, name)[2:5] == ["55.4", "", "65.5"]
    assert row(result.output, "PointSup/mask_rcnn_R_50_FPN_3x_point_sup_coco")[2:] == [
        *[""] * 5,
        "none",
        "needs det-pointrend",
    ]
    assert sum(name in result.output for name in published.models()) == 196
    assert UNVERIFIED in result.output


def test_zoo_list_task_filters_models():
    listed = json.loads(run("list", "--task", "proposals", "--json").output)
    assert [each["name"] for each in listed] == ["COCO-Detection/rpn_R_50_C4_1x", "COCO-Detection/rpn_R_50_FPN_1x"]
    assert run("list", "--task", "juggling").exit_code == 2


def test_zoo_list_json_equals_show_json():
    (facts,) = (each for each in json.loads(run("list", "--json").output) if each["recipe"] == "faster_rcnn_r50_fpn_3x")
    assert facts == json.loads(run("show", "faster_rcnn_r50_fpn_3x", "--json").output)
    assert facts["name"] == "COCO-Detection/faster_rcnn_R_50_FPN_3x"
    assert (facts["box_ap"], facts["seconds"], facts["gigabytes"]) == (40.2, 0.038, 3.0)
    assert facts["reported"]["train time (s/iter)"] == 0.209
    assert (
        facts["weights"]
        == "https://dl.fbaipublicfiles.com/detectron2/COCO-Detection/faster_rcnn_R_50_FPN_3x/137849458/model_final_280758.pkl"
    )
    assert facts["verified"] is False


@pytest.mark.parametrize("name", ["faster_rcnn_r50_fpn_3x", "COCO-Detection/faster_rcnn_R_50_FPN_3x"])
def test_zoo_show_accepts_any_name_of_model(name):
    output = run("show", name).output
    assert re.search(r"^  recipe +faster_rcnn_r50_fpn_3x$", output, re.MULTILINE)
    assert re.search(r"^  box AP +40\.2$", output, re.MULTILINE)
    assert UNVERIFIED in output


def test_show_lists_licenses_of_weights_and_annotations():
    output = run("show", "DensePose/densepose_rcnn_R_50_FPN_s1x").output
    assert re.search(r"license of the weights +CC-BY-SA-3\.0\n", output)
    assert re.search(r"license of the annotations +non-commercial use\n", output)
    untrained = run("show", "DensePose/HRNet/densepose_rcnn_HRFPN_HRNet_w32_s1x").output
    assert "license of the weights" not in untrained


def test_zoo_show_missing_plugin_names_package(without):
    without("det-pointrend")
    output = run("show", "PointSup/mask_rcnn_R_50_FPN_3x_point_sup_coco").output
    assert "not installed; det-pointrend brings it" in output
    assert "none published" in output
    assert UNVERIFIED not in output


def test_zoo_list_includes_recipes_of_plugins(tiny):
    assert row(run("list").output, "Tiny/squares_R_1_1x")[-1] == "squares_r1_1x"


def test_zoo_show_unknown_name_suggests_similar():
    result = run("show", "faster_rcnn_r50_fpn_3")
    assert result.exit_code == 2
    assert "did you mean 'faster_rcnn_r50_fpn_3x'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_listing_needs_no_torch():
    code = (
        "import sys; sys.argv = ['det', 'zoo', 'list', '--json']; sys.modules['torch'] = sys.modules['rich'] = None\n"
    )
    code += "from det_core.cli.main import main; main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, len(json.loads(result.stdout))) == (0, 196)
