"""The smallest datasets of each format that hold an object, as arguments of their readers."""

import json
from pathlib import Path
from typing import Any

from PIL import Image


def lvis(folder: Path) -> dict[str, Any]:
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    image = {"id": 1, "file_name": "a.png", "width": 40, "height": 30}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 5], "area": 20.5}
    content = {
        "images": [image],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "cat", "frequency": "f"}],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return {"images": folder, "annotations": folder / "a.json"}


def voc(folder: Path) -> dict[str, Any]:
    for part in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / part).mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(folder / "JPEGImages" / "a.jpg")
    box = "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>18</ymax></bndbox>"
    size = "<size><width>40</width><height>30</height></size>"
    xml = f"<annotation>{size}<object><name>dog</name>{box}</object></annotation>"
    (folder / "Annotations" / "a.xml").write_text(xml)
    (folder / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    return {"folder": folder, "split": "train"}


def cityscapes(folder: Path) -> dict[str, Any]:
    for part in ("left/ulm", "fine/ulm"):
        (folder / part).mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(folder / "left" / "ulm" / "a_leftImg8bit.png")
    car = {"label": "car", "polygon": [[2, 3], [20, 3], [20, 18], [2, 18]]}
    content = {"imgHeight": 30, "imgWidth": 40, "objects": [car]}
    (folder / "fine" / "ulm" / "a_gtFine_polygons.json").write_text(json.dumps(content))
    return {"images": folder / "left", "annotations": folder / "fine"}


def yolo(folder: Path) -> dict[str, Any]:
    for part in ("images", "labels"):
        (folder / part).mkdir()
    Image.new("RGB", (40, 30)).save(folder / "images" / "a.jpg")
    (folder / "labels" / "a.txt").write_text("1 0.5 0.5 0.25 0.2\n")
    return {"images": folder / "images", "classes": ["cat", "dog"]}


def semantic_folder(folder: Path) -> dict[str, Any]:
    for part in ("images", "labels"):
        (folder / part).mkdir()
    Image.new("RGB", (40, 30)).save(folder / "images" / "a.jpg")
    Image.new("L", (40, 30), 1).save(folder / "labels" / "a.png")
    return {"images": folder / "images", "labels": folder / "labels", "classes": ["road", "sky"]}
