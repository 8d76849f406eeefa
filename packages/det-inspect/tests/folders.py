"""Folders of pictures with annotations in every format that `det start` reads, with the same boxes in each."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (64, 48)  # width, height
BOXES = ((4, 6, 20, 18), (30, 10, 54, 40))  # corners, continuous
CLASSES = ("cat", "dog")


def picture(path: Path, seed: int) -> Path:
    """A picture that no other seed resembles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC).save(path)
    return path


def pictures(folder: Path, count: int = 8, first: int = 0) -> list[Path]:
    return [picture(folder / f"p{number}.png", number) for number in range(first, first + count)]


def coco_of(files: list[Path], start: Path, categories=None, **more) -> dict:
    images, objects = [], []
    for number, file in enumerate(files, 1):
        name = file.relative_to(start).as_posix()
        images.append({"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
        for label, (x0, y0, x1, y1) in enumerate(BOXES):
            box = [x0, y0, x1 - x0, y1 - y0]
            record = {"id": len(objects) + 1, "image_id": number, "category_id": label + 1, "bbox": box, "iscrowd": 0}
            objects.append({**record, **{key: value(box) for key, value in more.items()}})
    categories = categories or [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    return {"images": images, "annotations": objects, "categories": categories}


def coco(folder: Path, splits=("train", "val"), **more) -> Path:
    for place, split in enumerate(splits):
        files = pictures(folder / split, 6, 10 * place)
        (folder / f"instances_{split}.json").write_text(json.dumps(coco_of(files, folder / split, **more)))
    return folder


def roboflow(folder: Path) -> Path:
    above = {"id": 0, "name": "animals", "supercategory": "none"}
    categories = [above, *({"id": n, "name": name, "supercategory": "animals"} for n, name in enumerate(CLASSES, 1))]
    for place, split in enumerate(("train", "valid")):
        files = pictures(folder / split, 6, 10 * place)
        content = coco_of(files, folder / split, categories)
        (folder / split / "_annotations.coco.json").write_text(json.dumps(content))
    return folder


def cvat_coco(folder: Path) -> Path:
    files = pictures(folder / "images" / "default")
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances_default.json").write_text(json.dumps(coco_of(files, files[0].parent)))
    return folder


def cvat_xml(folder: Path) -> Path:
    entries = [
        f'<image id="{number}" name="{file.name}" width="64" height="48">{_shapes()}</image>'
        for number, file in enumerate(pictures(folder / "images"))
    ]
    (folder / "annotations.xml").write_text(f"<annotations><version>1.1</version>{''.join(entries)}</annotations>")
    return folder


def _shapes() -> str:
    corners = ((f'xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}"') for x0, y0, x1, y1 in BOXES)
    return "".join(f'<box label="{name}" {box}/>' for name, box in zip(CLASSES, corners, strict=True))


def yolo(folder: Path, splits=("train", "val"), lines=None, about="") -> Path:
    shares = [((x0 + x1) / 128, (y0 + y1) / 96, (x1 - x0) / 64, (y1 - y0) / 48) for x0, y0, x1, y1 in BOXES]
    lines = lines or [f"{label} {' '.join(map(str, share))}" for label, share in enumerate(shares)]
    for place, split in enumerate(splits):
        for file in pictures(folder / "images" / split, 6, 10 * place):
            text = folder / "labels" / split / f"{file.stem}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text("\n".join(lines))
    named = "".join(f"{split}: images/{split}\n" for split in splits)
    (folder / "data.yaml").write_text(f"{named}{about}names: [cat, dog]\n")
    return folder


def voc(folder: Path, images: str = "JPEGImages", annotations: str = "Annotations", lists=("train", "val")) -> Path:
    files = pictures(folder / images)
    (folder / annotations).mkdir(exist_ok=True)
    for file in files:
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
            f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for name, (x0, y0, x1, y1) in zip(CLASSES, BOXES, strict=True)
        )
        size = "<size><width>64</width><height>48</height><depth>3</depth></size>"
        text = f"<annotation><filename>{file.name}</filename>{size}{objects}</annotation>"
        (folder / annotations / f"{file.stem}.xml").write_text(text)
    for split, part in zip(lists, (files[:5], files[5:]), strict=False):
        main = folder / "ImageSets" / "Main"
        main.mkdir(parents=True, exist_ok=True)
        (main / f"{split}.txt").write_text("".join(f"{file.stem}\n" for file in part))
    return folder


def labelimg(folder: Path) -> Path:
    return voc(folder, images=".", annotations=".", lists=())


def label_studio(folder: Path) -> Path:
    tasks = []
    for file in pictures(folder / "images"):
        result = [
            {"type": "rectanglelabels", "value": {**_per_cent(box), "rotation": 0, "rectanglelabels": [name]}}
            for name, box in zip(CLASSES, BOXES, strict=True)
        ]
        tasks.append({"data": {"image": f"/data/upload/1/0a1b2c3d-{file.name}"}, "annotations": [{"result": result}]})
    (folder / "export.json").write_text(json.dumps(tasks))
    return folder


def _per_cent(box) -> dict:
    x0, y0, x1, y1 = box
    return {"x": x0 / 0.64, "y": y0 / 0.48, "width": (x1 - x0) / 0.64, "height": (y1 - y0) / 0.48}


def csv_table(folder: Path, head="filename,class,xmin,ymin,xmax,ymax") -> Path:
    rows = [
        f"{file.name},{name},{','.join(map(str, box))}"
        for file in pictures(folder / "images")
        for name, box in zip(CLASSES, BOXES, strict=True)
    ]
    (folder / "boxes.csv").write_text("\n".join([head, *rows]))
    return folder


def dota(folder: Path) -> Path:
    (folder / "labelTxt").mkdir(parents=True)
    for file in pictures(folder / "images"):
        lines = ["imagesource:GoogleEarth", "gsd:0.1"]
        for name, (x0, y0, x1, y1) in zip(CLASSES, BOXES, strict=True):
            lines.append(f"{x0} {y0} {x1} {y0} {x1} {y1} {x0} {y1} {name} 0")
        (folder / "labelTxt" / f"{file.stem}.txt").write_text("\n".join(lines))
    return folder


def masks(folder: Path, values=(255, 255), one_file_each: bool = False) -> Path:
    for file in pictures(folder / "images"):
        whole = np.zeros(SIZE[::-1], np.uint8)
        for value, (x0, y0, x1, y1) in zip(values, BOXES, strict=True):
            whole[y0:y1, x0:x1] = value
        (folder / "masks").mkdir(exist_ok=True)
        Image.fromarray(whole).save(folder / "masks" / file.name)
    return folder
