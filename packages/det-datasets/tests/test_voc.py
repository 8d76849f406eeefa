"""VocDataset: pixels counted from 1, difficult objects, and files that cannot be trusted."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from det_core.contracts import Dataset, Indexed
from det_core.errors import DataError
from det_core.zoo.class_names import VOC_CLASSES
from det_datasets.readers import VocDataset
from PIL import Image


def annotation(*objects: str, size: str = "<width>40</width><height>30</height>") -> str:
    return f"<annotation><filename>x</filename><size>{size}</size>{''.join(objects)}</annotation>"


def thing(name: str = "dog", box: tuple[Any, ...] = (3, 4, 12, 8), rest: str = "") -> str:
    sides = "".join(f"<{s}>{v}</{s}>" for s, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name>{rest}<bndbox>{sides}</bndbox></object>"


def dataset(folder: Path, *xml: str, names: str = "", **options: Any) -> VocDataset:
    for part in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(xml):
        (folder / "Annotations" / f"a{number}.xml").write_text(text)
        Image.new("RGB", (40, 30)).save(folder / "JPEGImages" / f"a{number}.jpg")
    (folder / "ImageSets" / "Main" / "train.txt").write_text(names or "".join(f"a{n}\n" for n in range(len(xml))))
    return VocDataset(folder, "train", **options)


def test_boxes_are_zero_based_and_end_exclusive(tmp_path: Path) -> None:
    voc = dataset(tmp_path, annotation(thing(), thing("cat", (1, 1, 40, 30))), annotation())
    assert isinstance(voc, Dataset)
    assert isinstance(voc, Indexed)
    assert (len(voc), voc.classes, voc.num_objects) == (2, VOC_CLASSES, 2)
    sample = voc[0]
    assert (sample.id, sample.path, sample.size) == ("a0", tmp_path / "JPEGImages" / "a0.jpg", (30, 40))
    assert sample.targets is not None
    assert sample.targets.boxes.tolist() == [[2, 3, 12, 8], [0, 0, 40, 30]]
    assert [VOC_CLASSES[label] for label in sample.targets.labels] == ["dog", "cat"]
    assert voc[1].targets is not None
    assert len(voc[1].targets) == 0


def test_difficult_objects_are_marked_and_used_for_training(tmp_path: Path) -> None:
    voc = dataset(tmp_path, annotation(thing(), thing(rest="<difficult>1</difficult>")))
    targets = voc[0].targets
    assert targets is not None
    assert targets.extras["voc/difficult"].tolist() == [False, True]
    assert len(targets.without_crowd()) == 2


def test_images_without_objects_are_optional_and_lists_have_flags(tmp_path: Path) -> None:
    voc = dataset(tmp_path, annotation(), annotation(thing()), names="a0  1\n\na1 -1\na1\n", keep_empty=False)
    assert [voc[index].id for index in range(len(voc))] == ["a1"]
    assert list(voc.labels_of(0)) == [VOC_CLASSES.index("dog")]


def test_images_folder_and_png_are_supported(tmp_path: Path) -> None:
    dataset(tmp_path, annotation(thing()))
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (40, 30)).save(other / "a0.png")
    assert VocDataset(tmp_path, "train", images=other)[0].path == other / "a0.png"


def test_pickled_dataset_reads_same_samples(tmp_path: Path) -> None:
    voc = pickle.loads(pickle.dumps(dataset(tmp_path, annotation(thing()))))
    assert voc[0].targets.boxes.tolist() == [[2, 3, 12, 8]]


ENTITIES = '<!DOCTYPE a [<!ENTITY b "bbbb">]><annotation>&b;</annotation>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation>&b;</annotation>'


@pytest.mark.parametrize(
    ("xml", "sentence"),
    [
        (annotation(thing("dragon")), r"a0.xml object 1' is of category 'dragon', which is not listed"),
        (annotation(thing(), thing(box=(3, 4, 2, 8))), r"a0.xml object 2' has a box of width 0"),
        (annotation(thing(box=(3, "x", 2, 8))), r"a0.xml object 1' has the bbox \[nan\], which is not four"),
        (annotation(thing(box=("inf", 1, 2, 8))), r"a0.xml object 1' has the bbox .*not four finite numbers"),
        (annotation("<object><name>dog</name></object>"), r"a0.xml object 1' has the bbox"),
        (annotation(thing(box=(50, 4, 60, 8))), r"a0.xml object 1' has the bbox .*all outside its image"),
        (annotation(size="<width>0</width><height>30</height>"), r"image 'a0' has the height 30 and the width 0"),
        ("<annotation></annotation>", r"image 'a0' has the height None and the width None"),
        ("<annotation><object>", r"a0.xml: is not valid XML; no element|a0.xml: is not valid XML; "),
        ("", r"a0.xml: is not valid XML"),
        ("<a>" * 200_000, r"a0.xml: is nested deeper than 30 levels"),
        (ENTITIES, r"a0.xml: declares a document type"),
        (OUTSIDE, r"a0.xml: declares a document type"),
    ],
)
def test_errors_give_file_and_object(tmp_path: Path, xml: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        dataset(tmp_path, xml)


def test_bad_objects_can_be_left_out(tmp_path: Path) -> None:
    voc = dataset(tmp_path, annotation(thing("dragon"), thing()), bad_annotations="skip")
    assert voc.num_objects == 1
    assert voc.skipped == ("annotation 'a0.xml object 1' is of category 'dragon', which is not listed",)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("../a0\n", r"train.txt: line 1 is no name of an image; got '../a0'"),
        ("a0\n/etc/passwd\n", r"train.txt: line 2 is no name of an image"),
        ("a9\n", r"a9.xml: there is no such annotation file"),
    ],
)
def test_names_that_leave_folder_are_refused(tmp_path: Path, names: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        dataset(tmp_path, annotation(thing()), names=names)


def test_missing_list_error_names_existing_lists(tmp_path: Path) -> None:
    dataset(tmp_path, annotation())
    with pytest.raises(DataError, match=r"val.txt: there is no such list of images; there are train; check"):
        VocDataset(tmp_path, "val")
    with pytest.raises(DataError, match="a split is the name of a list"):
        VocDataset(tmp_path, "../train")
    with pytest.raises(DataError, match="no: there is no such folder of images"):
        VocDataset(tmp_path, "train", images=tmp_path / "no")


def test_missing_image_is_reported_on_reading(tmp_path: Path) -> None:
    voc = dataset(tmp_path, annotation())
    (tmp_path / "JPEGImages" / "a0.jpg").unlink()
    with pytest.raises(DataError, match=r"a0.jpg: .*Annotations lists this file"):
        voc[0]
