"""Keypoints of COCO files."""

from pathlib import Path
from typing import Any

import pytest
from det_core.errors import ConfigError, DataError
from det_devkit.coco_files import content, dataset


def test_keypoints_move_to_the_middle_of_their_pixels(tmp_path: Path) -> None:
    data = content()
    for category in data["categories"]:
        category["keypoints"] = ["nose", "left_eye", "right_eye"]
    data["annotations"][0]["keypoints"] = [5, 6, 2, 7, 8, 1, 0, 0, 0]
    cells = dataset(tmp_path, data, keypoints=True)
    targets = cells[1].targets
    assert targets is not None
    assert targets.keypoints is not None
    assert targets.keypoints.tolist() == [[[5.5, 6.5, 2], [7.5, 8.5, 1], [0, 0, 0]]]
    without = cells[2].targets
    assert without is not None
    assert without.keypoints is not None
    assert without.keypoints.tolist() == [[[0, 0, 0]] * 3] * 2
    assert cells.flip_pairs == ((1, 2),)


@pytest.mark.parametrize(
    ("points", "message"),
    [([1, 2], "not 6 finite numbers"), ([1, 2, 3, 4, 5, 6], "visibility"), ([1, 2, 2, 4, None, 1], "not 6 finite")],
)
def test_bad_keypoints_are_named(tmp_path: Path, points: list[Any], message: str) -> None:
    data = content(2)
    data["categories"][0]["keypoints"] = ["head", "tail"]
    data["annotations"][0]["keypoints"] = points
    with pytest.raises(DataError, match=f"annotation 111 .*{message}"):
        dataset(tmp_path, data, keypoints=True)


def test_keypoints_need_a_list_of_their_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="keypoints were asked for"):
        dataset(tmp_path, keypoints=True)


def test_images_with_few_labelled_keypoints_can_be_left_out(tmp_path: Path) -> None:
    data = content(4)
    for category in data["categories"]:
        category["keypoints"] = ["nose", "tail"]
    for annotation, seen in zip(data["annotations"], [0, 1, 2, 1, 0, 0], strict=True):
        annotation["keypoints"] = [4, 5, int(seen > 0), 6, 7, 2 * int(seen > 1)]
    kept = {least: len(dataset(tmp_path, data, keypoints=True, min_keypoints=least)) for least in (0, 1, 2, 3, 4)}
    assert kept == {0: 4, 1: 2, 2: 1, 3: 1, 4: 0}
    with pytest.raises(ConfigError, match="set keypoints to true"):
        dataset(tmp_path, data, min_keypoints=1)
