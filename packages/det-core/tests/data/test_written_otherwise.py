"""Annotations that other programs write in another way than COCO's own are read all the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from det_core.data import CocoDataset
from det_core.errors import DataError
from det_core.ops.annotations import normalized, whole
from det_devkit.coco_files import content, dataset, write
from pycocotools import mask as coco_mask


@pytest.mark.parametrize(
    ("written", "value"),
    [(1.0, 1), ("1", 1), ("1.0", 1), (" -7. ", -7), (7, 7), (1.5, 1.5), ("1.5", "1.5"), ("a1", "a1"), (None, None)],
)
def test_whole_numbers_are_numbers_however_they_are_written(written: Any, value: Any) -> None:
    assert whole(written) == value
    assert type(whole(written)) is type(value)


def test_whole_leaves_what_is_no_number_and_truth_values_as_they_are() -> None:
    assert whole(True) is True
    assert whole(float("inf")) == float("inf")
    assert whole("9" * 30) == "9" * 30


def rewritten(data: Any, number: Any) -> Any:
    """The same with every id, size and flag as `number` makes it."""
    keys = ("id", "image_id", "category_id", "height", "width", "iscrowd")
    if isinstance(data, dict):
        return {key: number(value) if key in keys else rewritten(value, number) for key, value in data.items()}
    return [rewritten(each, number) for each in data] if isinstance(data, list) else data


def test_ids_sizes_and_flags_as_floats_are_read_like_whole_numbers(tmp_path: Path) -> None:
    plain, floats = dataset(tmp_path), dataset(tmp_path, rewritten(content(), float))
    assert floats.category_ids == plain.category_ids
    assert [floats[i].id for i in range(3)] == [plain[i].id for i in range(3)]
    for i in range(3):
        one, two = floats[i].targets, plain[i].targets
        assert one is not None
        assert two is not None
        assert one.boxes.tolist() == two.boxes.tolist()
        assert one.labels.tolist() == two.labels.tolist()


def test_ids_of_images_stay_texts_where_all_are_and_annotations_may_write_numbers(tmp_path: Path) -> None:
    data = content()
    for image in data["images"]:
        image["id"] = str(image["id"])
    for annotation in data["annotations"]:
        annotation["category_id"] = str(annotation["category_id"])
    found = dataset(tmp_path, data)
    assert found[2].id == "13"
    assert found.num_objects == 3


def test_null_entries_count_as_absent(tmp_path: Path) -> None:
    data = content()
    for annotation in data["annotations"]:
        annotation |= {"iscrowd": None, "area": None, "keypoints": None}
    targets = dataset(tmp_path, data)[2].targets
    assert targets is not None
    assert targets.crowd is not None
    assert not targets.crowd.any()
    assert targets.areas is not None
    assert targets.areas.tolist() == [50, 60]


def test_id_beyond_64_bits_is_refused_as_such(tmp_path: Path) -> None:
    data = content()
    data["annotations"][0]["id"] = 2**63
    with pytest.raises(DataError, match="has an id that is neither a whole number of 64 bits nor a text"):
        dataset(tmp_path, data)


def test_objects_without_a_box_have_that_of_their_mask(tmp_path: Path) -> None:
    mask = np.zeros((30, 40), np.uint8, order="F")
    mask[4:9, 6:16] = 1
    rle = coco_mask.encode(mask)
    data = content()
    data["annotations"][0] |= {"segmentation": [[1.5, 2, 9, 2, 9, 12]]}
    data["annotations"][1] |= {"segmentation": {"size": [30, 40], "counts": rle["counts"].decode()}}
    data["annotations"][2] |= {"segmentation": {"size": [30, 40], "counts": [0, 1200]}, "iscrowd": 1}
    for annotation in data["annotations"]:
        del annotation["bbox"]
    boxes = [each["bbox"] for each in normalized(data)["annotations"]]
    assert boxes == [[1.5, 2, 7.5, 10], [6, 4, 10, 5], [0, 0, 40, 30]]
    assert dataset(tmp_path, data, masks="bitmaps").num_objects == 3


@pytest.mark.parametrize(
    "segmentation", [None, "text", [], [[]], [["a", "b"]], {"size": [30, 40], "counts": [7]}, {"size": 3}, {}]
)
def test_object_without_box_and_usable_mask_is_refused(segmentation: Any, tmp_path: Path) -> None:
    data = content()
    data["annotations"][0]["segmentation"] = segmentation
    del data["annotations"][0]["bbox"]
    with pytest.raises(DataError, match="annotation 111 has no 'bbox'"):
        dataset(tmp_path, data)


@pytest.mark.parametrize("bad", [[1, 2, 3, 4], [1, 2, 3], [], [1, 2, 3, 4, 9999, 9999], "text"])
def test_bad_ring_is_left_out_and_counted_and_object_kept(bad: Any, tmp_path: Path) -> None:
    good = [2, 3, 12, 3, 12, 8, 2, 8]
    data = content()
    for annotation in data["annotations"]:
        annotation |= {"segmentation": [good], "iscrowd": 0}
    clean = dataset(tmp_path, data, masks="polygons")
    data["annotations"][0]["segmentation"] = [bad, good, bad]
    found = dataset(tmp_path, data, masks="polygons")
    row = next(i for i in range(3) if found[i].id == data["annotations"][0]["image_id"])
    assert found.num_objects == 3
    assert found.left_out == {"rings of polygons that cannot be used, of objects that can": 2}
    outlines: Any = found[row].targets
    wanted: Any = clean[row].targets
    assert outlines.masks.rings.tolist() == wanted.masks.rings.tolist()
    assert outlines.masks.points.tolist() == wanted.masks.points.tolist()


def test_backslashes_in_file_names_are_those_of_windows_where_no_such_file_is(tmp_path: Path) -> None:
    images, annotations = write(tmp_path, content())
    data = json.loads(annotations.read_text())
    (images / "sub").mkdir()
    for image in data["images"]:
        (images / image["file_name"]).rename(images / "sub" / image["file_name"])
        image["file_name"] = f"sub\\{image['file_name']}"
    annotations.write_text(json.dumps(data))
    assert CocoDataset(images, annotations)[0].path == images / "sub" / data["images"][0]["file_name"][4:]
    data["images"][0]["file_name"] = "sub\\..\\..\\secret.png"
    annotations.write_text(json.dumps(data))
    with pytest.raises(DataError, match="leads out of the folder"):
        CocoDataset(images, annotations)
