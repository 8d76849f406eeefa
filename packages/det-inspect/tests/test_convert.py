"""Conversion between COCO, VOC and YOLO: nothing is lost where there is a place for it, and the rest is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from det_core.contracts import Dataset
from det_core.data import CocoDataset
from det_core.errors import ConfigError, DataError
from det_datasets.readers import VocDataset, YoloDataset
from det_devkit import coco_files
from det_inspect.datasets.convert import convert
from PIL import Image

CELLS = Path(__file__).parents[3] / "tests" / "data" / "blood-cells"
NAMES = ("dog", "cat")


def cells() -> Any:
    if not CELLS.is_dir():
        pytest.skip(f"{CELLS} is not there: this package is tested without its repository")
    return CocoDataset.listing(CELLS / "images", CELLS / "instances.json")


def read(to: str, folder: Path, classes: tuple[str, ...], split: str = "train") -> Any:
    """The arguments of the reader of what has been written."""
    arguments: dict[str, Callable[[], Any]] = {
        "coco": lambda: (CocoDataset, (folder / "images" / split, folder / f"instances_{split}.json")),
        "voc": lambda: (VocDataset, (folder, split, classes)),
        "yolo": lambda: (YoloDataset, (folder / "images" / split, folder / "data.yaml")),
    }
    return arguments[to]()


def objects(dataset: Dataset) -> dict[str, Any]:
    found = {}
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample.targets is not None
        assert sample.path is not None
        names = [dataset.classes[label] for label in sample.targets.labels]
        found[sample.path.stem] = (names, sample.targets.boxes.tolist(), sample.size)
    return found


@pytest.mark.parametrize("way", [("voc",), ("yolo",), ("coco",), ("voc", "yolo", "coco"), ("yolo", "voc", "coco")])
def test_convert_blood_cells_round_trip_is_exact(tmp_path: Path, way: tuple[str, ...]) -> None:
    listing = cells()
    before = CocoDataset(listing.images, listing.annotations)
    for step, to in enumerate(way):
        done = convert(listing, to, tmp_path / str(step))  # type: ignore[arg-type]
        reader, arguments = read(to, tmp_path / str(step), before.classes)
        listing = reader.listing(*arguments)
        assert (done.images, done.objects, done.skipped) == (len(before), before.num_objects, ())
    after = reader(*arguments)
    assert objects(after) == objects(before)
    assert after.classes == before.classes


def test_convert_voc_through_coco_keeps_extra_fields(tmp_path: Path) -> None:
    voc = tmp_path / "voc"
    for part in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (voc / part).mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(voc / "JPEGImages" / "a.jpg")
    (voc / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    box = "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>18</ymax></bndbox>"
    part = "<part><name>head</name><bndbox><xmin>3</xmin></bndbox></part>"
    (voc / "Annotations" / "a.xml").write_text(
        "<annotation><source><database>D</database></source><size><width>40</width><height>30</height></size>"
        f"<segmented>0</segmented><object><name>dog</name><pose>Left</pose><truncated>1</truncated>"
        f"<difficult>1</difficult>{box}{part}{part}</object></annotation>"
    )
    before = VocDataset.listing(voc, "train", NAMES)
    convert(before, "coco", tmp_path / "coco")
    listing = CocoDataset.listing(tmp_path / "coco" / "images" / "train", tmp_path / "coco" / "instances_train.json")
    done = convert(listing, "voc", tmp_path / "again")
    assert VocDataset.listing(tmp_path / "again", "train", NAMES).content == before.content
    assert set(done.lost) == {"ids of images", "ids of annotations"}


def test_convert_polygons_to_yolo_reports_lost_fields(tmp_path: Path) -> None:
    data = coco_files.content(3)
    data["info"] = {"year": 2017}
    ring, other = [4, 3, 12, 3, 4, 9], [20, 3, 30, 3, 20, 9]
    for each, segmentation in zip(
        data["annotations"], ([ring], None, {"size": [30, 40], "counts": [0, 1200]}), strict=True
    ):
        each["segmentation"], each["iscrowd"] = segmentation, 0
    data["annotations"].append({**data["annotations"][0], "id": 1, "segmentation": [ring, other]})
    data["annotations"].append({**data["annotations"][0], "id": 2, "iscrowd": 1})
    images, file = coco_files.write(tmp_path, data)
    done = convert(CocoDataset.listing(images, file), "yolo", tmp_path / "yolo")
    assert done.objects == 4
    expected = {
        "crowds, which are left out": 1,
        "masks that are not polygons, whose boxes are written": 1,
        "polygons of several parts, which are joined by lines without width": 1,
        "'info' of the file": 1,
        "areas that are not those of the boxes": 1,
    }
    assert {key: done.lost[key] for key in expected} == expected
    rows = YoloDataset.listing(tmp_path / "yolo" / "images" / "train", NAMES).content["annotations"]
    assert rows[0]["segmentation"] == [ring]
    assert rows[1]["segmentation"] == [[*ring, *ring[:2], *ring[:2], *other, *other[:2], *ring[:2]]]


def test_convert_joined_yolo_polygon_covers_same_pixels(tmp_path: Path) -> None:
    data = coco_files.content(2)
    data["annotations"][0]["segmentation"] = [[4, 3, 12, 3, 12, 9, 4, 9], [20, 13, 30, 13, 30, 19, 20, 19]]
    images, file = coco_files.write(tmp_path, data)
    convert(CocoDataset.listing(images, file), "yolo", tmp_path / "yolo")
    before = CocoDataset(images, file, masks=True)[1].targets
    after = YoloDataset(tmp_path / "yolo" / "images" / "train", NAMES, masks=True)[1].targets
    assert before is not None
    assert after is not None
    assert isinstance(before.masks, torch.Tensor)
    assert isinstance(after.masks, torch.Tensor)
    assert int((before.masks != after.masks).sum()) <= 6


def test_fractions_of_pixels_and_folders_survive(tmp_path: Path) -> None:
    data = coco_files.content(2)
    data["images"][1]["file_name"] = "sub/1.png"
    data["annotations"][0] |= {"bbox": [2.3, 3.1, 10.7, 5.21], "area": 10.7 * 5.21}
    (tmp_path / "images" / "sub").mkdir(parents=True)
    images, file = coco_files.write(tmp_path, data)
    for to in ("voc", "yolo"):
        done = convert(CocoDataset.listing(images, file), to, tmp_path / to)  # type: ignore[arg-type]
        reader, arguments = read(to, tmp_path / to, NAMES)
        (row,) = reader.listing(*arguments).content["annotations"]
        assert row["bbox"] == [2.3, 3.1, 10.7, 5.21]
        assert reader(*arguments).num_objects == 1
    assert (tmp_path / "voc" / "JPEGImages" / "sub_1.png").exists()
    assert (tmp_path / "yolo" / "labels" / "train" / "sub" / "1.txt").exists()
    assert "boxes at fractions of pixels, which some readers of VOC round" not in done.lost


def test_convert_bad_entry_stops_or_is_skipped_before_writing(tmp_path: Path) -> None:
    data = coco_files.content(3)
    data["annotations"][0]["bbox"] = [1, 1, -5, 5]
    listing = CocoDataset.listing(*coco_files.write(tmp_path, data))
    with pytest.raises(DataError, match="annotation 111 has a box of width -5"):
        convert(listing, "voc", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    done = convert(listing, "voc", tmp_path / "out", bad_annotations="skip")
    assert done.skipped == ("annotation 111 has a box of width -5 and height 5",)


@pytest.mark.parametrize("to", ["coco", "voc", "yolo"])
@pytest.mark.parametrize("name", ["../out.png", "/tmp/out.png", "a/../../out.png", "..\\out.png", "C:\\out.png"])
def test_convert_file_name_outside_folder_is_refused(tmp_path: Path, to: Any, name: str) -> None:
    data = coco_files.content(2)
    images, file = coco_files.write(tmp_path, data)
    data["images"][0]["file_name"] = name
    file.write_text(json.dumps(data))
    with pytest.raises(DataError, match="leads out of the folder"):
        convert(CocoDataset.listing(images, file), to, tmp_path / "out", files="leave", bad_annotations="skip")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.json", "images"]


def test_convert_never_overwrites_different_files(tmp_path: Path) -> None:
    listing = CocoDataset.listing(*coco_files.write(tmp_path, coco_files.content(2)))
    convert(listing, "yolo", tmp_path / "out")
    convert(listing, "yolo", tmp_path / "out")
    (tmp_path / "out" / "labels" / "train" / "1.txt").write_text("mine")
    with pytest.raises(DataError, match=r"1.txt: exists with other content"):
        convert(listing, "yolo", tmp_path / "out")
    Image.new("RGB", (40, 30), (1, 2, 3)).save(tmp_path / "out" / "images" / "train" / "0.png")
    (tmp_path / "out" / "labels" / "train" / "1.txt").unlink()
    with pytest.raises(DataError, match=r"0.png: exists and is another image"):
        convert(listing, "yolo", tmp_path / "out")


def test_convert_missing_images_and_colliding_names_are_refused(tmp_path: Path) -> None:
    data = coco_files.content(2)
    images, file = coco_files.write(tmp_path, data)
    (images / "0.png").unlink()
    with pytest.raises(DataError, match=r"1 are missing, the first is 0.png"):
        convert(CocoDataset.listing(images, file), "voc", tmp_path / "out")
    assert convert(CocoDataset.listing(images, file), "voc", tmp_path / "out", files="leave").images == 2
    data["images"][1]["file_name"] = "0.jpg"
    file.write_text(json.dumps(data))
    with pytest.raises(DataError, match=r"two images would have one name; '0.png' and '0.jpg'"):
        convert(CocoDataset.listing(images, file), "voc", tmp_path / "other", files="leave")
    with pytest.raises(ConfigError, match="split: must be a name"):
        convert(CocoDataset.listing(images, file), "voc", tmp_path / "other", split="../x")


def test_convert_ids_of_a_coco_file_stay(tmp_path: Path) -> None:
    data = coco_files.content(3)
    data["categories"] = [{"id": 0, "name": "cat"}, {"id": 5, "name": "dog"}]
    for each in data["annotations"]:
        each["category_id"] = 0 if each["category_id"] == 7 else 5
        each["id"] = f"object {each['id']}"
    images, file = coco_files.write(tmp_path, data)
    done = convert(CocoDataset.listing(images, file), "coco", tmp_path / "out")
    written = json.loads(done.files[0].read_text())
    assert [each["id"] for each in written["categories"]] == [0, 5]
    for part in ("images", "annotations"):
        assert [each["id"] for each in written[part]] == [each["id"] for each in data[part]]
    assert [each["category_id"] for each in written["annotations"]] == [0, 0, 5]


@pytest.mark.parametrize(
    "names", [["my photo 1.png", "my photo -1.png", "a  b.png"], ["x 1.png", "x 0.png", "x 1 1.png"]]
)
def test_convert_names_with_spaces_are_read_again(tmp_path: Path, names: list[str]) -> None:
    data = coco_files.content(3)
    for image, name in zip(data["images"], names, strict=True):
        image["file_name"] = name
    images, file = coco_files.write(tmp_path, data)
    convert(CocoDataset.listing(images, file), "voc", tmp_path / "voc")
    again = VocDataset(tmp_path / "voc", "train", ["dog", "cat"])
    assert [again.path(index).name for index in range(3)] == names
    assert again.num_objects == 2


@pytest.mark.parametrize("name", [" a.png", "a .png", "a\nb.png", "ab:c.png"])
def test_convert_names_that_no_list_can_hold_are_refused(tmp_path: Path, name: str) -> None:
    data = coco_files.content(1)
    data["images"][0]["file_name"] = name
    images, file = coco_files.write(tmp_path, data)
    with pytest.raises(DataError, match="has a name that a list of images cannot hold"):
        convert(CocoDataset.listing(images, file), "voc", tmp_path / "voc")
