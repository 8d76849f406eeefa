"""`det data check`: every kind of defect is found, in its place, and none of them ends the search."""

import contextlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from det_core.data import CocoDataset
from det_core.data.formats.listing import Listing
from det_core.errors import DataError
from det_core.recipes import Factory
from det_datasets.readers import VocDataset, YoloDataset
from det_datasets.wrappers import ConcatDataset
from det_devkit import coco_files
from det_inspect.datasets.check import check
from det_inspect.datasets.report import KINDS, Report
from PIL import Image

RING = [4, 3, 12, 3, 4, 9]


def sound() -> dict[str, Any]:
    """Three images; objects 111, 121 and 122, of which the last is a crowd; nothing is wrong."""
    data = coco_files.content(3)
    data["annotations"][1]["keypoints"] = [5, 5, 2, 6, 6, 1]
    data["categories"][0]["keypoints"] = ["a", "b"]
    return data


def look(folder: Path, data: Any, change: Callable[[Path], None] = lambda folder: None, **options: Any) -> Report:
    images, file = coco_files.write(folder, data)
    change(folder)
    return check({"train": partial(CocoDataset.listing, images, file)}, **options)


def test_check_valid_dataset_has_no_defects_and_full_counts(tmp_path: Path) -> None:
    report = look(tmp_path, sound())
    assert report.defects == []
    figures = report.to_json()["splits"]["train"]
    assert figures["classes"] == {"dog": {"objects": 1, "images": 1}, "cat": {"objects": 2, "images": 2}}
    assert {key: figures[key] for key in ("images", "images without objects", "objects", "crowds")} == {
        "images": 3,
        "images without objects": 1,
        "objects": 3,
        "crowds": 1,
    }
    assert figures["with keypoints"] == 1
    # Boxes of 10 x 5, 10 x 5 and 10 x 6 pixels.
    assert figures["object sizes"] == {"small": 3, "medium": 0, "large": 0}
    assert figures["object side"] == {"min": 7.1, "median": 7.1, "max": 7.7}


def put(place: str, number: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data[place][number].update(values)


def drop(place: str, number: int, key: str) -> Callable[[dict[str, Any]], None]:
    return lambda data: data[place][number].pop(key)


def again(place: str, number: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data[place].append({**data[place][number], **values})


def whole(place: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data[place].append(value)


IN_THE_FILE: list[tuple[str, str, Callable[[dict[str, Any]], None]]] = [
    ("bad entry", "annotation 111 has no 'bbox'", drop("annotations", 0, "bbox")),
    ("bad entry", "annotation number 4 of the list is not an object", whole("annotations", [1])),
    ("bad entry", "annotation 111 has the area -1", put("annotations", 0, area=-1)),
    ("bad entry", "annotation 111 has iscrowd 'yes'", put("annotations", 0, iscrowd="yes")),
    ("bad entry", "image 99 has the height 0 and", again("images", 0, id=99, height=0)),
    ("bad entry", "category 9 has no 'name'", whole("categories", {"id": 9})),
    ("id used twice", "annotation 111 has an id that another one has too", again("annotations", 0, bbox=[1, 1, 2, 2])),
    ("id used twice", "image 11 has an id", again("images", 0, file_name="x.png")),
    ("name used twice", "category 9 has the name 'cat'", whole("categories", {"id": 9, "name": "cat"})),
    ("path leaves the folder", "which leads out of the folder", again("images", 0, id=99, file_name="../0.png")),
    ("file listed twice", "image 99 is the file of image 11", again("images", 0, id=99)),
    ("unknown image", "annotation 111 belongs to image 99", put("annotations", 0, image_id=99)),
    ("unknown category", "annotation 111 is of category 99", put("annotations", 0, category_id=99)),
    ("bad box", "annotation 111 has the bbox [1, 2, 3]", put("annotations", 0, bbox=[1, 2, 3])),
    ("bad box", "annotation 111 has the bbox [1, 2, 'x', 4]", put("annotations", 0, bbox=[1, 2, "x", 4])),
    ("bad box", "not four finite numbers", put("annotations", 0, bbox=[1, 2, float("nan"), 4])),
    ("bad box", "not four finite numbers", put("annotations", 0, bbox=[1, 2, 10**400, 4])),
    ("negative box", "annotation 111 has a box of width -3 and height 4", put("annotations", 0, bbox=[1, 2, -3, 4])),
    ("empty box", "annotation 111 has a box of width 0 and height 4", put("annotations", 0, bbox=[1, 2, 0, 4])),
    ("box outside", "annotation 111 has a box that reaches 5 pixels out", put("annotations", 0, bbox=[30, 2, 15, 4])),
    ("box outside", "all outside its image of 40 x 30", put("annotations", 0, bbox=[50, 2, 15, 4])),
    ("duplicate box", "annotation 5 has the class and the box of another one", again("annotations", 0, id=5)),
    ("broken polygon", "annotation 111 has a polygon", put("annotations", 0, segmentation=[[1, 2, 3, 4]])),
    ("broken polygon", "far outside", put("annotations", 0, segmentation=[[*RING, 9e9, 3]])),
    ("broken polygon", "neither polygons nor RLE", put("annotations", 0, segmentation="x")),
    ("broken RLE", "not of its image's size", put("annotations", 0, segmentation={"size": [1, 1], "counts": [1]})),
    ("broken RLE", "an RLE of 7 pixels", put("annotations", 0, segmentation={"size": [30, 40], "counts": [7]})),
    ("broken RLE", "that is", put("annotations", 0, segmentation={"size": [30, 40], "counts": "\x01"})),
    ("broken keypoints", "not 6 finite numbers", put("annotations", 1, keypoints=[1, 2, 2])),
    ("broken keypoints", "visibility other than", put("annotations", 1, keypoints=[1, 2, 2, 3, 4, 7])),
]


@pytest.mark.parametrize(("kind", "words", "change"), IN_THE_FILE)
def test_check_annotation_file_defect_is_reported_once_with_id(
    tmp_path: Path, kind: str, words: str, change: Callable[[dict[str, Any]], None]
) -> None:
    data = sound()
    change(data)
    report = look(tmp_path, data)
    (found,) = [each for each in report.defects if each.kind != "missing image"]
    assert (found.kind, found.split) == (kind, "train")
    assert words in found.text
    assert found.id or "number 4" in found.text
    assert Path(found.file) in (tmp_path / "a.json", tmp_path / "images" / "0.png")
    json.dumps(report.to_json())


def cut(folder: Path) -> None:
    path = folder / "images" / "1.png"
    path.write_bytes(path.read_bytes()[:300])


def grow(folder: Path) -> None:
    Image.fromarray(np.random.default_rng(9).integers(0, 255, (50, 60, 3), np.uint8)).save(folder / "images" / "1.png")


def repeat(folder: Path) -> None:
    Image.open(folder / "images" / "0.png").save(folder / "images" / "1.png", compress_level=1)


IN_THE_IMAGES: list[tuple[str, str, Callable[[Path], None]]] = [
    ("missing image", "listed, but not there", lambda folder: (folder / "images" / "1.png").unlink()),
    ("unreadable image", "damaged or cut short", cut),
    ("unreadable image", "the file is empty", lambda folder: (folder / "images" / "1.png").write_bytes(b"") and None),
    ("size differs", "has 60 x 50 upright pixels, its entry has 40 x 30", grow),
    ("same image", "has the same pixels as", repeat),
]


@pytest.mark.parametrize(("kind", "words", "change"), IN_THE_IMAGES)
def test_check_image_defect_is_reported_with_file(
    tmp_path: Path, kind: str, words: str, change: Callable[[Path], None]
) -> None:
    (found,) = look(tmp_path, sound(), change).defects
    assert (found.kind, found.id, Path(found.file)) == (kind, "12", tmp_path / "images" / "1.png")
    assert words in found.text


def test_check_same_image_in_two_splits_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, other = coco_files.write(tmp_path / "a", sound()), coco_files.write(tmp_path / "b", sound())
    for number in (0, 2):
        Image.new("RGB", (40, 30), (number, 50, 0)).save(other[0] / f"{number}.png")
    lists = {"train": partial(CocoDataset.listing, *first), "val": partial(CocoDataset.listing, *other)}
    (found,) = check(lists).defects
    assert (found.kind, found.split, found.id) == ("split overlap", "val", "12")
    assert f"has the same pixels as {first[0] / '1.png'} of train" in found.text
    assert check(lists, pixels=False).defects == []


def test_similar_images_of_two_splits_are_reported(tmp_path: Path) -> None:
    lists = {}
    pixels = np.kron(np.random.default_rng(0).integers(0, 256, (15, 20, 3), np.uint8), np.ones((2, 2, 1), np.uint8))
    for split, name in (("train", "0.png"), ("val", "2.png")):
        (tmp_path / split).mkdir()
        images, file = coco_files.write(tmp_path / split, sound())
        for path in images.glob("*.png"):
            Image.new("RGB", (40, 30), (path.stat().st_size % 256, len(lists), int(path.stem))).save(path)
        Image.fromarray(np.clip(pixels * 1.05 + len(lists), 0, 255).astype(np.uint8)).save(images / name)
        lists[split] = partial(CocoDataset.listing, images, file)
    (found,) = check(lists).defects
    assert (found.kind, found.split, found.id) == ("similar images", "val", "13")
    assert found.text == f"nearly equal to {tmp_path / 'train' / 'images' / '0.png'} of train"


def test_check_objects_of_invalid_image_name_listed_image(tmp_path: Path) -> None:
    data = sound()
    data["images"][2]["width"] = 0
    texts = [defect.text for defect in look(tmp_path, data).defects if "belongs to" in defect.text]
    assert texts
    assert all("which cannot be used itself" in text for text in texts)


def test_check_objects_of_invalid_category_name_listed_category(tmp_path: Path) -> None:
    data = sound()
    for category in data["categories"]:
        del category["name"]
    texts = [defect.text for defect in look(tmp_path, data).defects if defect.kind == "unknown category"]
    assert len(texts) == len(data["annotations"])
    assert all("which cannot be used itself" in text for text in texts)
    assert not any("lists no category" in defect.text for defect in look(tmp_path, data).defects)


def test_check_one_broken_polygon_of_usable_object_is_reported(tmp_path: Path) -> None:
    data = sound()
    data["annotations"][0]["segmentation"] = [[1, 1, 9, 1, 9, 9], [1, 2]]
    kinds = [defect.kind for defect in look(tmp_path, data).defects]
    assert "broken polygon" in kinds


def test_check_reports_all_defects_in_one_run(tmp_path: Path) -> None:
    data = sound()
    changes = [change for kind, _, change in IN_THE_FILE if kind not in ("unknown image",)]
    for change in (whole("annotations", [1]), *changes[-3:], again("annotations", 2, id=5)):
        change(data)
    report = look(tmp_path, data, cut)
    assert set(report.counts()) == {"unreadable image", "duplicate box", "bad entry", "broken RLE", "broken keypoints"}


def test_check_reports_all_defects_of_one_object(tmp_path: Path) -> None:
    data = sound()
    data["annotations"][0] |= {"bbox": [1, 2, -3, 4], "category_id": 99, "segmentation": [[1]], "area": -1}
    kinds = [defect.kind for defect in look(tmp_path, data).defects]
    assert sorted(kinds) == ["bad entry", "broken polygon", "negative box", "unknown category"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"images": {}}', '{"images": [], "categories": 7}', "\x00" * 99])
def test_check_unreadable_split_does_not_stop_other_splits(tmp_path: Path, content: str) -> None:
    images, file = coco_files.write(tmp_path, sound())
    (tmp_path / "b.json").write_text(content)
    lists = {"val": partial(CocoDataset.listing, images, tmp_path / "b.json")}
    report = check(lists | {"train": partial(CocoDataset.listing, images, file)})
    assert [(each.kind, each.split, each.file) for each in report.defects] == [
        ("unreadable file", "val", str(tmp_path / "b.json"))
    ]
    assert len(report.splits["train"].sizes) == 3


def test_files_of_voc_and_yolo_are_looked_through_alike(tmp_path: Path) -> None:
    for part in ("Annotations", "ImageSets/Main", "images", "labels"):
        (tmp_path / part).mkdir(parents=True)
    for number in range(2):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(tmp_path / "images" / f"{number}.jpg")
    box = "<bndbox><xmin>9</xmin><ymin>4</ymin><xmax>2</xmax><ymax>8</ymax></bndbox>"
    size = "<size><width>40</width><height>30</height></size>"
    (tmp_path / "Annotations" / "0.xml").write_text(
        f"<annotation>{size}<object><name>dragon</name>{box}</object></annotation>"
    )
    (tmp_path / "Annotations" / "1.xml").write_text("<annotation>")
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("0\n1\n")
    (tmp_path / "labels" / "0.txt").write_text("7 0.5 0.5 0 0.1\n0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2")
    (tmp_path / "labels" / "1.txt").write_bytes(b"\xff\xfe")
    images = tmp_path / "images"
    voc: Callable[[], Listing] = partial(VocDataset.listing, tmp_path, "train", ["dog"], images)
    assert check({"voc": voc}).counts() == {"unreadable file": 1, "unknown category": 1, "negative box": 1}
    yolo: Callable[[], Listing] = partial(YoloDataset.listing, images, ["dog"])
    report = check({"yolo": yolo})
    assert report.counts() == {"unreadable file": 1, "unknown category": 1, "empty box": 1, "duplicate box": 1}
    assert {each.id for each in report.defects} == {"", "0.txt line 1", "0.txt line 3"}


ODD = [
    None,
    True,
    -1,
    10**30,
    1e300,
    float("nan"),
    "x",
    "\udc80",
    [],
    [[]],
    {},
    [None],
    {"size": 3},
    [1, 2, 3, 4, 5, 6],
]


@pytest.mark.parametrize("place", ["images", "annotations", "categories"])
def test_check_survives_odd_values_and_agrees_with_reader(tmp_path: Path, place: str) -> None:
    data = sound()
    data["annotations"][1]["segmentation"] = [RING]
    images, file = coco_files.write(tmp_path, data)
    for key in data[place][1 if place == "annotations" else 0]:
        for value in ODD:
            content = json.loads(json.dumps(data))
            content[place][1 if place == "annotations" else 0][key] = value
            listing = Listing(content, images, file)
            report = check({"train": lambda listing=listing: listing}, pixels=False)
            json.dumps(report.to_json()).encode("utf-8")
            with contextlib.suppress(DataError):
                listing.checked(masks="bitmaps", keypoints=True, bad_annotations="skip")


class Odd:
    """A reader that does not list its files."""

    classes, evaluators = ("dog",), ()

    def __init__(self, images: Path, annotations: Path) -> None:
        self.inner = CocoDataset(images, annotations)

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> Any:
        if index == 0:
            raise KeyError("odd")
        return self.inner[index]


class Repeated(Odd):
    """A reader whose first two samples are one."""

    def __getitem__(self, index: int) -> Any:
        return self.inner[index // 2]


def test_check_reader_without_listing_is_checked_by_sample(tmp_path: Path) -> None:
    images, file = coco_files.write(tmp_path, sound())
    report = check({"train": Factory(Odd, images=images, annotations=file)})  # type: ignore[dict-item]
    assert report.counts() == {"unreadable image": 1, "unknown category": 2}
    both = [CocoDataset(images, file), CocoDataset(images, file)]
    report = check({"train": Factory(ConcatDataset, datasets=both)})  # type: ignore[dict-item]
    assert report.counts() == {"same image": 3}  # a concat tells ids apart
    assert report.to_json()["splits"]["train"]["objects"] == 6
    report = check({"train": Factory(Repeated, images=images, annotations=file)})  # type: ignore[dict-item]
    assert report.counts()["id used twice"] == 1


def test_every_kind_of_defect_has_a_test() -> None:
    generated = {kind for kind, *_ in (*IN_THE_FILE, *IN_THE_IMAGES)} | {
        *("split overlap", "similar images", "unreadable file")
    }
    assert generated == set(KINDS)
