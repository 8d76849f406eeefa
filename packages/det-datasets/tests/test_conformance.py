"""The components are held to what det asks of plugins."""

from pathlib import Path
from typing import Any

import small_benchmarks
from det_core.data import CocoDataset
from det_devkit import coco_files
from det_devkit.conformance import conformance
from PIL import Image


def concat(folder: Path) -> dict[str, Any]:
    images, annotations = coco_files.write(folder, coco_files.content())
    return {"datasets": [CocoDataset(images, annotations)]}


def image_folder(folder: Path) -> dict[str, Any]:
    Image.new("RGB", (40, 30)).save(folder / "a.jpg")
    return {"images": folder, "classes": ["cat", "dog"]}


test_datasets = conformance(
    "det-datasets",
    examples={
        "datasets/cityscapes": small_benchmarks.cityscapes,
        "datasets/concat": concat,
        "datasets/image_folder": image_folder,
        "datasets/lvis": small_benchmarks.lvis,
        "datasets/semantic_folder": small_benchmarks.semantic_folder,
        "datasets/voc": small_benchmarks.voc,
        "datasets/yolo": small_benchmarks.yolo,
    },
)
