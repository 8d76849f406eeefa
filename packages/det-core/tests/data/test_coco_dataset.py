"""CocoDataset: what a good file gives, and the sentence that each fault of a bad one gets."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from det_core.contracts import Dataset
from det_core.data import CocoDataset
from det_core.errors import DataError
from det_devkit.coco_files import content, dataset, write
from PIL import Image

Change = Callable[[dict[str, Any]], Any]


def test_it_is_a_dataset(tmp_path: Path) -> None:
    assert isinstance(dataset(tmp_path), Dataset)
    assert dataset(tmp_path).evaluators == ("coco",)


def test_boxes_become_corners_and_labels_follow_order_of_category_ids(tmp_path: Path) -> None:
    cells = dataset(tmp_path)
    assert cells.classes == ("dog", "cat")
    assert cells.category_ids == (3, 7)
    assert (len(cells), cells.num_objects) == (3, 3)
    sample = cells[2]
    assert (sample.id, sample.path, sample.size) == (13, tmp_path / "images" / "2.png", (30, 40))
    targets = sample.targets
    assert targets is not None
    assert targets.boxes.tolist() == [[2, 3, 12, 8], [3, 3, 13, 9]]
    assert targets.boxes.dtype == torch.float32
    assert targets.labels.tolist() == [1, 0]
    assert targets.labels.dtype == torch.int64
    assert targets.areas is not None
    assert targets.areas.tolist() == [20.5, 20.5]
    assert targets.crowd is not None
    assert targets.crowd.tolist() == [False, True]
    assert targets.masks is targets.keypoints is None


def test_image_without_objects_has_empty_targets(tmp_path: Path) -> None:
    targets = dataset(tmp_path)[0].targets
    assert targets is not None
    assert targets.boxes.shape == (0, 4)


def test_negative_index_counts_from_the_end(tmp_path: Path) -> None:
    assert dataset(tmp_path)[-1].id == 13
    with pytest.raises(IndexError):
        dataset(tmp_path)[3]


def test_objects_of_image_may_stand_anywhere_in_file(tmp_path: Path) -> None:
    data = content(4)
    data["annotations"].reverse()
    targets = dataset(tmp_path, data)[3].targets
    assert targets is not None
    assert targets.boxes[:, 0].tolist() == [4, 3, 2]


def test_changing_a_sample_does_not_change_the_dataset(tmp_path: Path) -> None:
    cells = dataset(tmp_path)
    first = cells[2].targets
    assert first is not None
    first.boxes.zero_()
    again = cells[2].targets
    assert again is not None
    assert again.boxes.max() > 0


def test_images_without_object_to_learn_from_can_be_left_out(tmp_path: Path) -> None:
    data = content()
    data["annotations"][0]["iscrowd"] = 1
    cells = dataset(tmp_path, data, keep_empty=False)
    assert [cells[i].id for i in range(len(cells))] == [13]


def test_classes_can_be_chosen_and_ordered(tmp_path: Path) -> None:
    cells = dataset(tmp_path, classes=["cat", "dog"])
    targets = cells[2].targets
    assert targets is not None
    assert (cells.category_ids, targets.labels.tolist()) == ((7, 3), [0, 1])
    cats = dataset(tmp_path, classes=["cat"])
    targets = cats[2].targets
    assert targets is not None
    assert (len(cats), cats.num_objects, targets.labels.tolist()) == (3, 2, [0])
    with pytest.raises(DataError, match=r"a.json: has no category named 'cats'; it has 'cat'"):
        dataset(tmp_path, classes=["cats"])
    with pytest.raises(DataError, match="each once"):
        dataset(tmp_path, classes=["cat", "cat"])


def test_text_ids_area_and_iscrowd_may_be_left_to_their_defaults(tmp_path: Path) -> None:
    data = content()
    for image in data["images"]:
        image["id"] = f"im{image['id']}"
    for annotation in data["annotations"]:
        annotation["image_id"] = f"im{annotation['image_id']}"
        del annotation["area"], annotation["iscrowd"]
    sample = dataset(tmp_path, data)[2]
    assert sample.id == "im13"
    assert sample.targets is not None
    assert sample.targets.areas is not None
    assert sample.targets.areas.tolist() == [50, 60]
    assert sample.targets.crowd is not None
    assert not sample.targets.crowd.any()


def test_dataset_goes_to_another_process_and_stays_small(tmp_path: Path) -> None:
    data = content(1)
    shape = data["images"][0]
    data["images"] = [shape | {"id": i, "file_name": f"{i:012}.jpg"} for i in range(1000)]
    box = {"category_id": 7, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}
    data["annotations"] = [box | {"id": i, "image_id": i // 10} for i in range(10_000)]
    images, annotations = write(tmp_path, content(1))
    annotations.write_text(json.dumps(data))
    sent = pickle.dumps(CocoDataset(images, annotations))
    assert len(sent) < 60 * 10_000
    assert pickle.loads(sent).path(999).name == "000000000999.jpg"


def test_test_images_without_annotations_have_no_targets(tmp_path: Path) -> None:
    data = content()
    del data["annotations"]
    cells = dataset(tmp_path, data)
    assert cells[1].targets is None
    assert cells.num_objects == 0


SQUARE = [[10, 10, 14, 10, 14, 12, 10, 12]]


def test_polygons_and_both_kinds_of_rle_become_masks(tmp_path: Path) -> None:
    data = content()
    data["annotations"][0]["segmentation"] = SQUARE
    # Columns of 30: 310 pixels until (x 10, y 10), then two set in each of four columns.
    data["annotations"][1]["segmentation"] = {"size": [30, 40], "counts": [310, 2, 28, 2, 28, 2, 28, 2, 798]}
    from pycocotools import mask as coco_mask

    packed = coco_mask.frPyObjects(data["annotations"][1]["segmentation"], 30, 40)
    data["annotations"][2]["segmentation"] = {"size": [30, 40], "counts": packed["counts"].decode()}
    cells = dataset(tmp_path, data, masks=True)
    expected = torch.zeros((30, 40), dtype=torch.bool)
    expected[10:12, 10:14] = True
    for sample in (cells[1], cells[2]):
        assert sample.targets is not None
        masks = sample.targets.masks
        assert masks is not None
        assert masks.dtype == torch.bool
        assert all(torch.equal(mask, expected) for mask in masks)
    empty = cells[0].targets
    assert empty is not None
    assert isinstance(empty.masks, torch.Tensor)
    assert empty.masks.shape == (0, 30, 40)


def test_polygons_are_given_as_they_stand_and_crowds_have_none(tmp_path: Path) -> None:
    data = content()
    for annotation in data["annotations"]:
        annotation["segmentation"] = SQUARE
    data["annotations"][2]["segmentation"] = {"size": [30, 40], "counts": [1200]}  # a crowd
    cells = dataset(tmp_path, data, masks="polygons")
    found = [cells[i].targets.masks for i in range(3)]
    assert [[len(rings) for rings in masks] for masks in found] == [[], [1], [1, 0]]
    assert next(iter(found[1]))[0].ravel().tolist() == SQUARE[0]
    data["annotations"][2]["iscrowd"] = 0
    with pytest.raises(DataError, match="annotation 122 has an RLE, where polygons were asked for"):
        dataset(tmp_path, data, masks="polygons")


def at(*path: Any, value: Any) -> Change:
    """A change of one entry of the file."""

    def change(data: dict[str, Any]) -> None:
        place: Any = data
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def without(*path: Any) -> Change:
    def change(data: dict[str, Any]) -> None:
        place: Any = data
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return change


FAULTS: dict[str, tuple[Change, str]] = {
    "missing key": (without("annotations", 0, "bbox"), "annotation 111 has no 'bbox'"),
    "missing id": (without("annotations", 1, "id"), "annotation number 2 of the list has no 'id'"),
    "zero width": (at("annotations", 0, "bbox", 2, value=0), "annotation 111 has a box of width 0 and height 5"),
    "negative height": (at("annotations", 0, "bbox", 3, value=-4), "has a box of width 10 and height -4"),
    "vanishing": (at("annotations", 0, "bbox", value=[30, 3, 1e-9, 5]), "empty after rounding to float32"),
    "outside": (at("annotations", 0, "bbox", value=[50, 3, 4, 5]), r"all outside its image of 40 x 30 pixels"),
    "nan": (at("annotations", 0, "bbox", 0, value=float("nan")), "bbox .*not four finite numbers"),
    "infinite": (at("annotations", 0, "bbox", 2, value=float("inf")), "bbox .*not four finite numbers"),
    "enormous": (at("annotations", 0, "bbox", 2, value=10**400), "bbox .*not four finite numbers"),
    "text": (at("annotations", 0, "bbox", 2, value="10"), "bbox .*not four finite numbers"),
    "three": (at("annotations", 0, "bbox", value=[1, 2, 3]), r"has the bbox \[1, 2, 3\], which is not four"),
    "category": (at("annotations", 0, "category_id", value=8), "is of category 8, which is not listed"),
    "image": (at("annotations", 0, "image_id", value=99), "belongs to image 99, which is not listed"),
    "image list": (at("annotations", 0, "image_id", value=[1]), r"belongs to image \[1\], which is not listed"),
    "repeated id": (at("annotations", 1, "id", value=111), "annotation 111 has an id that another one has too"),
    "boolean id": (at("annotations", 1, "id", value=True), "neither a whole number of 64 bits nor a text"),
    "area": (at("annotations", 0, "area", value=-1), "has the area -1"),
    "crowd": (at("annotations", 0, "iscrowd", value=2), "has iscrowd 2, not 0 or 1"),
    "not an object": (at("annotations", 0, value="hello"), "annotation number 1 of the list is not an object"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_bad_annotation_is_named_and_can_be_skipped(tmp_path: Path, name: str) -> None:
    change, message = FAULTS[name]
    data = content()
    change(data)
    with pytest.raises(DataError, match=message) as raised:
        dataset(tmp_path, data)
    assert str(raised.value).startswith(f"{tmp_path / 'a.json'}: 1 annotation cannot be used; ")
    assert str(raised.value).endswith("correct the file, or set bad_annotations to 'skip'")
    cells = dataset(tmp_path, data, bad_annotations="skip")
    assert cells.num_objects == 2
    assert len(cells.skipped) == 1
    assert all(sample.targets is not None for sample in (cells[0], cells[1], cells[2]))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([], "neither polygons nor RLE"),
        ("text", "neither polygons nor RLE"),
        ([[1, 2, 3, 4]], "at least three pairs"),
        ([[1, 2, 3, 4, 5, 6, 7]], "at least three pairs"),
        ([[1, 2, 3, 4, 5, float("nan")]], "at least three pairs of finite numbers"),
        ([[1, 2, 3, 4, 1e9, 6]], "far outside its image"),
        ({"size": [40, 30], "counts": "abc"}, r"has an RLE that is not of its image's size \[30, 40\]"),
        ({"counts": "abc"}, r"has an RLE that is not of its image's size \[30, 40\]"),
        ({"size": [30, 40], "counts": [5, 5]}, "an RLE of 10 pixels in an image of 1200"),
        ({"size": [30, 40], "counts": [-5, 1205]}, "neither text nor whole numbers"),
        ({"size": [30, 40], "counts": "52"}, "an RLE of 7 pixels in an image of 1200"),
        ({"size": [30, 40], "counts": "zzzzzzzz"}, "an RLE that is damaged"),
        ({"size": [30, 40], "counts": "5P"}, "an RLE that is cut short"),
        ({"size": [30, 40], "counts": None}, "neither text nor whole numbers"),
        (None, "neither polygons nor RLE"),
    ],
)
def test_bad_segmentation_is_named_where_masks_are_asked_for(tmp_path: Path, segmentation: Any, message: str) -> None:
    data = content(2)
    data["annotations"][0]["segmentation"] = segmentation
    assert dataset(tmp_path, data).num_objects == 1
    with pytest.raises(DataError, match=message):
        dataset(tmp_path, data, masks=True)


def test_missing_segmentation_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="annotation 111 has no 'segmentation'"):
        dataset(tmp_path, masks=True)


def test_many_faults_are_counted_and_the_first_ten_listed(tmp_path: Path) -> None:
    data = content(7)
    for annotation in data["annotations"]:
        annotation["bbox"][2] = 0
    with pytest.raises(DataError) as raised:
        dataset(tmp_path, data)
    message = str(raised.value)
    assert "21 annotations cannot be used; " in message
    assert message.count("has a box of width 0") == 10
    assert "; and 11 more; " in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("images", 1, "file_name"), "1 image cannot be used; image 12 has no 'file_name'; correct the file$"),
        (at("images", 1, "width", value=0), "image 12 has the height 30 and the width 0"),
        (at("images", 1, "height", value="tall"), "image 12 has the height 'tall'"),
        (at("images", 1, "id", value=11), "image 11 has an id that another one has too"),
        (at("images", 1, "id", value="a"), "partly numbers, partly texts"),
        (at("images", value={}), "is not a COCO annotation file; 'images' is a dict, not a list"),
        (without("images"), "is not a COCO annotation file; it has no 'images', only 'annotations', 'categories'"),
        (at("categories", value=[]), "lists no category"),
        (at("categories", 0, "name", value="dog"), "category 3 has the name 'dog', which another one has too"),
        (without("categories", 0, "name"), "category 7 has no 'name'"),
        (at("categories", 0, "id", value="seven"), "has an id that is not a whole number"),
    ],
)
def test_images_and_categories_must_be_sound(tmp_path: Path, change: Change, message: str) -> None:
    data = content()
    change(data)
    images, annotations = write(tmp_path, content())
    annotations.write_text(json.dumps(data))
    with pytest.raises(DataError, match=message):
        CocoDataset(images, annotations, bad_annotations="skip")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not valid JSON"),
        ('{"images": [', "is not valid JSON.*may be cut short"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"images": ' + "1" * 5000 + "}", "is not valid JSON"),
        ("[]", "is not a COCO annotation file; it holds a list"),
        ("3", "it holds a int"),
        ("{}", "it has no 'images', only nothing"),
        ('{"\\ud800": 1}', "it has no 'images'"),
    ],
)
def test_file_that_is_not_coco_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=message):
        CocoDataset(tmp_path, tmp_path / "a.json")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="is not valid JSON"):
        CocoDataset(tmp_path, tmp_path / "a.json")


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    images, annotations = write(tmp_path, content())
    with pytest.raises(DataError, match=r"none.json: there is no such annotation file"):
        CocoDataset(images, tmp_path / "none.json")
    with pytest.raises(DataError, match="the annotation file cannot be read"):
        CocoDataset(images, tmp_path)
    with pytest.raises(DataError, match="none: there is no such folder of images"):
        CocoDataset(tmp_path / "none", annotations)


def test_image_that_is_listed_but_not_there_is_named_when_it_is_read(tmp_path: Path) -> None:
    cells = dataset(tmp_path)
    (tmp_path / "images" / "1.png").unlink()
    assert cells[0].id == 11
    with pytest.raises(DataError, match=r"1.png: .*a.json lists this file \(image 12\), but it is not there"):
        cells[1]


def test_size_that_disagrees_with_the_file_names_both(tmp_path: Path) -> None:
    cells = dataset(tmp_path)
    Image.new("RGB", (30, 40)).save(tmp_path / "images" / "1.png")
    with pytest.raises(DataError, match=r"1.png: the image has 30 x 40 upright pixels; .*a.json lists 40 x 30 \(image"):
        cells[1]


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "C:\\x.png", "a/../../b.png", "a\\..\\b.png"])
def test_file_name_that_leads_out_of_folder_is_refused(tmp_path: Path, name: str) -> None:
    data = content()
    images, annotations = write(tmp_path, data)
    data["images"][1]["file_name"] = name
    annotations.write_text(json.dumps(data))
    with pytest.raises(DataError, match=r"image 12 has the file_name .*, which leads out of the folder of images"):
        CocoDataset(images, annotations)
