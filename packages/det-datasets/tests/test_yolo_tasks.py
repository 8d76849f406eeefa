"""YOLO's lines mean what is declared, not what their length suggests."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from det_core.errors import DataError, DetWarning
from det_core.recipes import Factory
from det_datasets.readers import YoloDataset
from PIL import Image

NAMES = "names: [cell, platelet]\n"
BOX = "0 0.5 0.5 0.25 0.2"


def made(folder: Path, line: str, about: str = NAMES, **options: Any) -> YoloDataset:
    for part in ("images", "labels"):
        (folder / part).mkdir()
    Image.new("RGB", (40, 30)).save(folder / "images" / "a.png")
    (folder / "labels" / "a.txt").write_text(line)
    (folder / "data.yaml").write_text(about)
    return YoloDataset(folder / "images", folder / "data.yaml", **options)


@pytest.mark.parametrize("task", [None, "detect", "segment"])
def test_confidence_column_is_refused(tmp_path: Path, task: Any) -> None:
    with pytest.raises(DataError, match=r"line 1' has the bbox .* is the last one a confidence\? take it out"):
        made(tmp_path, f"{BOX} 0.9", task=task)
    listing = YoloDataset.listing(tmp_path / "images", tmp_path / "data.yaml")
    assert listing.checked(bad_annotations="skip").left_out["annotations that cannot be used"] == 1


def test_detect_task_refuses_polygon_lines(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has the bbox .* of 6 numbers, where a box has four"):
        made(tmp_path, f"{BOX} 0.9 0.1", f"{NAMES}task: detect\n")


def test_pose_task_reads_keypoints_by_kpt_shape(tmp_path: Path) -> None:
    about = f"{NAMES}kpt_shape: [2, 3]\nflip_idx: [1, 0]\n"
    pose = made(tmp_path, f"{BOX} 0.5 0.5 2 0.25 0.2 0", about, keypoints=True)
    targets = pose[0].targets
    assert targets is not None
    assert targets.keypoints is not None
    assert targets.boxes.tolist() == [[15, 12, 25, 18]]
    assert targets.keypoints.tolist() == [[[20, 15, 2], [0, 0, 0]]]
    assert (pose.keypoint_names, pose.flip_pairs) == (("keypoint_0", "keypoint_1"), ((0, 1),))
    without = YoloDataset(tmp_path / "images", tmp_path / "data.yaml")[0].targets
    assert without is not None
    assert (without.keypoints, without.masks, without.boxes.tolist()) == (None, None, [[15, 12, 25, 18]])


def test_keypoints_of_two_numbers_are_labelled_unless_negative(tmp_path: Path) -> None:
    targets = made(tmp_path, f"{BOX} 0.5 0.5 -1 -1", f"{NAMES}kpt_shape: [2, 2]\n", keypoints=True)[0].targets
    assert targets is not None
    assert targets.keypoints is not None
    assert targets.keypoints.tolist() == [[[20, 15, 2], [0, 0, 0]]]


@pytest.mark.parametrize(
    ("line", "about", "sentence"),
    [
        (f"{BOX} 0.5 0.5 2", "kpt_shape: [2, 3]", r"has 7 numbers after its class, where kpt_shape \[2, 3\] needs 10"),
        (BOX, "kpt_shape: [2, 3]", r"has 4 numbers after its class, where"),
        (f"{BOX} 0.5 nan 2", "kpt_shape: [1, 3]", "not all finite"),
        (BOX, "task: pose", "does not give the number of keypoints"),
        (BOX, "task: obb", "the task 'obb' cannot be read; rotated boxes are read from COCO files"),
        (BOX, "task: [1]", "cannot be read; give detect, segment or pose"),
        (BOX, "kpt_shape: 17", "`kpt_shape` must be a count and 2 or 3"),
        (BOX, "kpt_shape: [0, 3]", "`kpt_shape` must be"),
        (BOX, "kpt_shape: [2, 4]", "`kpt_shape` must be"),
        (BOX, "kpt_shape: [[1], 3]", "`kpt_shape` must be"),
        (BOX, "kpt_shape: [2, 3]\nflip_idx: [0, 0]", "`flip_idx` must name each keypoint once"),
        ("0 0.1 0.1", "task: segment", "has 2 numbers after its class, which are no polygon"),
    ],
)
def test_line_that_is_not_as_declared_is_refused(tmp_path: Path, line: str, about: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        made(tmp_path, line, f"{NAMES}{about}\n")


def test_undeclared_lines_of_one_length_are_polygons_with_warning(tmp_path: Path) -> None:
    line = "0 0.1 0.1 0.6 0.1 0.1 0.6\n"
    with pytest.warns(DetWarning, match="2 lines of 6 numbers each are read as polygons; declare the task"):
        made(tmp_path, line * 2)
    for options in ({"task": "segment"}, {"masks": True}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert Factory(YoloDataset, images=tmp_path / "images", classes=["a"], **options)().num_objects == 2
