"""VOC files as other programs leave them: without lists, in other encodings, with flags in words."""

from pathlib import Path
from typing import Any

import pytest
from det_core.errors import DataError
from det_datasets.readers import VocDataset, YoloDataset
from PIL import Image

ROOT = "<annotation><size><width>40</width><height>30</height></size>{}</annotation>"
BOX = "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>12</xmax><ymax>8</ymax></bndbox>"


def thing(name: str, rest: str = "") -> str:
    return f"<object><name>{name}</name>{rest}{BOX}</object>"


def write(folder: Path, content: bytes, name: str = "a") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.xml").write_bytes(content)
    Image.new("RGB", (40, 30)).save(folder / f"{name}.png")
    return folder


def test_flat_folder_of_images_and_xml_is_read(tmp_path: Path) -> None:
    folder = write(tmp_path, ROOT.format(thing("dog")).encode(), "b")
    write(folder, ROOT.format("").encode(), "a")
    Image.new("RGB", (40, 30)).save(folder / "unlabelled.png")
    voc = VocDataset(folder)
    assert [voc[i].id for i in range(len(voc))] == ["a", "b"]
    assert voc[1].path == folder / "b.png"
    assert voc.num_objects == 1


def test_annotation_and_image_folders_without_lists_are_read(tmp_path: Path) -> None:
    write(tmp_path / "Annotations", ROOT.format(thing("dog")).encode())
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "Annotations" / "a.png").rename(tmp_path / "JPEGImages" / "a.png")
    assert VocDataset(tmp_path)[0].path == tmp_path / "JPEGImages" / "a.png"


def test_folder_without_xml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no XML file in this folder"):
        VocDataset(tmp_path)


@pytest.mark.parametrize("encoding", ["gb2312", "Shift_JIS", "euc-kr", "big5", "windows-1251", "iso-8859-1", "utf-16"])
def test_xml_is_read_in_the_encoding_that_it_declares(encoding: str, tmp_path: Path) -> None:
    name = {"gb2312": "细胞", "Shift_JIS": "細胞", "euc-kr": "세포", "big5": "細胞", "windows-1251": "клетка"}
    text = f"<?xml version='1.0' encoding='{encoding}'?>" + ROOT.format(thing(name.get(encoding, "Zölle")))
    voc = VocDataset(write(tmp_path, text.encode(encoding)), classes=[name.get(encoding, "Zölle")])
    assert voc.num_objects == 1


@pytest.mark.parametrize(
    ("encoding", "content", "message"),
    [
        ("gb2312", b"\xff\xff", "cannot be read as gb2312, which it declares"),
        ("cp-nothing", b"", "cannot be read as cp-nothing, which it declares"),
        ("hex", b"", "is not valid XML"),
        ("x-unheard-of", b"", "is not valid XML"),
    ],
)
def test_unknown_or_wrong_encoding_is_refused(encoding: str, content: bytes, message: str, tmp_path: Path) -> None:
    declared = f"<?xml version='1.0' encoding='{encoding}'?>".encode()
    with pytest.raises(DataError, match=message):
        VocDataset(write(tmp_path, declared + content + ROOT.format("").encode()))


def test_document_type_is_refused_in_any_encoding(tmp_path: Path) -> None:
    text = "<?xml version='1.0' encoding='gb2312'?><!DOCTYPE a [<!ENTITY b 'c'>]>" + ROOT.format("")
    with pytest.raises(DataError, match="declares a document type"):
        VocDataset(write(tmp_path, text.encode("gb2312")))


@pytest.mark.parametrize(
    ("word", "difficult"), [("1", True), ("true", True), ("True", True), ("yes", True), ("0", False), ("false", False)]
)
def test_difficult_is_read_from_text(word: str, difficult: bool, tmp_path: Path) -> None:
    text = ROOT.format(thing("dog", f"<difficult>{word}</difficult>"))
    targets: Any = VocDataset(write(tmp_path, text.encode()))[0].targets
    assert targets.extras["voc/difficult"].tolist() == [difficult]


def test_class_of_text_file_may_be_float(tmp_path: Path) -> None:
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "images" / "a.png")
    (tmp_path / "labels" / "a.txt").write_text("1.0 0.5 0.5 0.25 0.2\n")
    targets: Any = YoloDataset(tmp_path / "images", ["cell", "platelet"])[0].targets
    assert targets.labels.tolist() == [1]
