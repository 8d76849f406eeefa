"""Small COCO datasets, written for tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from det_core.data import CocoDataset
from PIL import Image

__all__ = ["content", "dataset", "write"]


def content(num_images: int = 3) -> dict[str, Any]:
    """Image i is 40 x 30 pixels and has i objects, the second of which is a crowd; ids start at 11 and 101."""
    images = [{"id": 11 + i, "file_name": f"{i}.png", "width": 40, "height": 30} for i in range(num_images)]
    annotations = [
        {
            "id": 101 + 10 * i + j,
            "image_id": 11 + i,
            "category_id": 7 if j % 2 == 0 else 3,
            "bbox": [2 + j, 3, 10, 5 + j],
            "area": 20.5,
            "iscrowd": int(j == 1),
        }
        for i in range(num_images)
        for j in range(i)
    ]
    categories = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def write(folder: Path, data: Any) -> tuple[Path, Path]:
    """Write the annotation file and its images, of random pixels; returns the folder of images and the file."""
    images = folder / "images"
    images.mkdir(exist_ok=True)
    if isinstance(data, dict):
        for i, image in enumerate(data.get("images", [])):
            pixels = np.random.default_rng(i).integers(0, 255, (30, 40, 3), np.uint8)
            Image.fromarray(pixels).save(images / image.get("file_name", "none.png"))
    (folder / "a.json").write_text(json.dumps(data))
    return images, folder / "a.json"


def dataset(folder: Path, data: Any = None, **options: Any) -> CocoDataset:
    """A dataset of `data`, by default `content()`."""
    images, annotations = write(folder, content() if data is None else data)
    return CocoDataset(images, annotations, **options)
