"""COCO's panoptic annotations with ten classes in place of 133, for models that learn on a small machine.

Things become people, animals, vehicles and other objects, each still by itself; stuff becomes six surfaces, of which an
image has one segment at most. The images are copied beside.

    python examples/panoptic/ten_classes.py --coco coco --split train2017 --output data/ten/train
"""

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from det_panoptic.data.label_image import read_label_image
from numpy.typing import NDArray
from PIL import Image

THINGS = ("person", "animal", "vehicle", "object")
STUFF = ("sky", "plants", "ground", "water", "walls", "other")
# The super-categories of COCO that have a class of their own name, or of another; the rest is "object" or "other".
CLASSES = {
    "person": "person",
    "animal": "animal",
    "vehicle": "vehicle",
    "sky": "sky",
    "plant": "plants",
    "ground": "ground",
    "floor": "ground",
    "water": "water",
    "wall": "walls",
    "building": "walls",
    "ceiling": "walls",
    "window": "walls",
}
CATEGORIES = [{"id": place, "name": name, "isthing": int(name in THINGS)} for place, name in enumerate(THINGS + STUFF)]


def class_of(category: Mapping[str, Any]) -> int:
    """Which of the ten a category of COCO belongs to, by its super-category."""
    name = CLASSES.get(category["supercategory"], "object" if category["isthing"] else "other")
    return (THINGS + STUFF).index(name)


def regroup(
    numbers: NDArray[np.int64], segments: Sequence[Mapping[str, Any]], classes: Mapping[int, int]
) -> tuple[NDArray[np.int64], list[dict[str, int]]]:
    """The label image (H, W) of an image and its segments, with stuff of one class as one segment.

    Args:
        numbers: the segment of each pixel, int64 (H, W).
        segments: as the file lists them.
        classes: which of the ten each category belongs to.
    """
    new, new_segments = np.zeros_like(numbers), {}
    for each in segments:
        new_class = classes[each["category_id"]]
        key = each["id"] if new_class < len(THINGS) else -new_class
        entry = new_segments.setdefault(
            key, {"id": len(new_segments) + 1, "category_id": new_class, "iscrowd": each["iscrowd"]}
        )
        new[numbers == each["id"]] = entry["id"]
    return new, list(new_segments.values())


def main() -> None:
    """Write images, label images and panoptic.json."""
    parser = argparse.ArgumentParser(description="Regroup COCO's panoptic annotations into ten classes.")
    parser.add_argument("--coco", type=Path, default=Path("coco"), help="the folder of COCO")
    parser.add_argument("--split", required=True, help="such as train2017")
    parser.add_argument("--annotations", type=Path, help="if not annotations/panoptic_SPLIT.json of it")
    parser.add_argument("--labels", type=Path, help="the folder of PNG files, if not panoptic_SPLIT of it")
    parser.add_argument("--images", type=Path, nargs="+", help="the folders of images, if not SPLIT of it")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    arguments = parser.parse_args()
    annotation_file = arguments.annotations or arguments.coco / "annotations" / f"panoptic_{arguments.split}.json"
    labels = arguments.labels or arguments.coco / f"panoptic_{arguments.split}"
    folders = arguments.images or [arguments.coco / arguments.split]
    content = json.loads(annotation_file.read_text(encoding="utf-8"))
    classes = {each["id"]: class_of(each) for each in content["categories"]}
    images = {each["id"]: each for each in content["images"]}
    annotations = []
    for name in ("images", "labels"):
        (arguments.output / name).mkdir(parents=True, exist_ok=True)
    for each in content["annotations"]:
        image = images[each["image_id"]]
        places = [folder / image["file_name"] for folder in folders]
        source = next((place for place in places if place.exists()), None)
        if source is None:
            parser.error(f"{image['file_name']} is in none of {', '.join(map(str, folders))}")
        shutil.copyfile(source, arguments.output / "images" / image["file_name"])
        numbers = read_label_image(labels / each["file_name"], (image["height"], image["width"]))
        new, segments = regroup(numbers, each["segments_info"], classes)
        colors = np.stack((new % 256, new // 256, np.zeros_like(new)), axis=-1).astype(np.uint8)
        Image.fromarray(colors).save(arguments.output / "labels" / each["file_name"])
        annotations.append({"image_id": each["image_id"], "file_name": each["file_name"], "segments_info": segments})
    output = {"images": content["images"], "annotations": annotations, "categories": CATEGORIES}
    (arguments.output / "panoptic.json").write_text(json.dumps(output), encoding="utf-8")
    print(f"{len(annotations)} images in {arguments.output}")


if __name__ == "__main__":
    main()
