"""The components are held to what det asks of plugins."""

from pathlib import Path
from typing import Any

import small_benchmarks
from det_core.data import CocoDataset
from det_devkit import coco_files
from det_devkit.conformance import conformance


def concat(folder: Path) -> dict[str, Any]:
    images, annotations = coco_files.write(folder, coco_files.content())
    return {"datasets": [CocoDataset(images, annotations)]}


test_datasets = conformance(
    "det-datasets",
    examples={
        "datasets/cityscapes": small_benchmarks.cityscapes,
        "datasets/concat": concat,
        "datasets/lvis": small_benchmarks.lvis,
        "datasets/semantic_folder": small_benchmarks.semantic_folder,
        "datasets/voc": small_benchmarks.voc,
        "datasets/yolo": small_benchmarks.yolo,
    },
)
