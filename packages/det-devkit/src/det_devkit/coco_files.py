"""Small COCO datasets, written for tests, and detections read from the COCO results format."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from det_core.data import CocoDataset
from det_core.errors import DataError
from det_core.evaluation.coco_results import decode_masks
from det_core.structures import Detections, Size
from PIL import Image
from torch import Tensor

__all__ = ["content", "damaged", "dataset", "from_coco", "write"]


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


def damaged() -> dict[str, Any]:
    """Four images with 0, 1, 2 and 3 objects, of which those of images 11, 12 and 13 that are no crowds are bad."""
    data = content(4)
    for each in data["annotations"]:
        if each["image_id"] < 14 and not each["iscrowd"]:
            each["bbox"] = [1, 1, 0, 5]
    return data


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


def from_coco(results: Sequence[Mapping[str, Any]], size: Size, category_ids: Sequence[int]) -> Detections:
    """The detections of one image of `size`, by descending score; masks and keypoints if all results have them.

    Rotated boxes have five numbers, upright ones four; all results must have the same.

    Raises:
        DataError: a result lacks an entry, or has a category that is not in `category_ids`.
    """
    labels = {category_id: label for label, category_id in enumerate(category_ids)}
    results = sorted(results, key=lambda result: -result.get("score", 0))
    try:
        boxes = torch.tensor([result["bbox"] for result in results], dtype=torch.float64)
        boxes = boxes.reshape(len(results), -1 if results else 4)
        if boxes.shape[1] == 4:
            boxes[:, 2:] += boxes[:, :2]
        pointed = bool(results) and all("keypoints" in result for result in results)
        masked = bool(results) and all("segmentation" in result for result in results)
        return Detections(
            boxes=boxes.float(),
            labels=torch.tensor([labels[result["category_id"]] for result in results], dtype=torch.int64),
            scores=torch.tensor([result["score"] for result in results], dtype=torch.float32),
            size=size,
            masks=decode_masks([result["segmentation"] for result in results], size) if masked else None,
            keypoints=_keypoints([result["keypoints"] for result in results]) if pointed else None,
        )
    except (KeyError, ValueError, TypeError) as error:
        fix = "each result needs image_id, category_id, bbox (four numbers, or five of a rotated box) and score"
        raise DataError("COCO results", "cannot be read", f"{type(error).__name__}: {error}", fix) from error


def _keypoints(results: Sequence[Sequence[float]]) -> Tensor:
    points = torch.tensor(results, dtype=torch.float32)
    return points.reshape(len(results), -1, 3) + torch.tensor([0.5, 0.5, 0])
