"""The smallest datasets of each format that hold an object, as arguments of their readers."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import coco_files
from det_core.data import CocoDataset
from PIL import Image


def coco(folder: Path) -> dict[str, Any]:
    images, annotations = coco_files.write(folder, coco_files.content())
    return {"images": images, "annotations": annotations}


def lvis(folder: Path) -> dict[str, Any]:
    data = coco_files.content()
    for category in data["categories"]:
        category["frequency"] = "f"
    images, annotations = coco_files.write(folder, data)
    return {"images": images, "annotations": annotations}


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


def concat(folder: Path) -> dict[str, Any]:
    return {"datasets": [CocoDataset(**coco(folder))]}


def semantic_folder(folder: Path) -> dict[str, Any]:
    for part in ("images", "labels"):
        (folder / part).mkdir()
    Image.new("RGB", (40, 30)).save(folder / "images" / "a.jpg")
    Image.new("L", (40, 30), 1).save(folder / "labels" / "a.png")
    return {"images": folder / "images", "labels": folder / "labels", "classes": ["road", "sky"]}


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


def image_folder(folder: Path) -> dict[str, Any]:
    Image.new("RGB", (40, 30)).save(folder / "a.jpg")
    return {"images": folder, "classes": ["cat", "dog"]}


def png(width: int, height: int, mode: int = 2) -> bytes:
    """A PNG that claims a size, with next to nothing in it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 2**20)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
