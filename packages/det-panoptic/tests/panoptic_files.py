"""A tiny panoptic dataset of COCO's form, and a small truth, for the tests."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from det_core.structures import Targets
from det_panoptic.segments import IDS, SEGMENTS, SegmentIds
from PIL import Image

CLASSES = ("square", "bar", "sky", "grass")
CATEGORIES = [
    {"id": 1, "name": "square", "isthing": 1},
    {"id": 7, "name": "sky", "isthing": 0},
    {"id": 3, "name": "bar", "isthing": 1},
    {"id": 9, "name": "grass", "isthing": 0},
]
SIZE = (48, 64)


def numbers(image: int) -> np.ndarray:
    """Which segment each pixel of an image belongs to, by the ids in the file."""
    ids = np.full(SIZE, 700_000, np.int64)  # sky
    ids[30:] = 900  # grass
    left = 8 + 8 * image
    ids[10:26, left : left + 16] = 66_051  # a square: red 3, green 2, blue 1
    ids[28:40, left + 20 : left + 24] = 300  # a bar
    ids[:2] = 0  # nobody knows
    return ids


def write(folder: Path, images: int = 3, change: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Path]:
    """Write images, label images and the file; returns the arguments of the dataset."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    colors = {66_051: (220, 40, 40), 300: (40, 40, 220), 700_000: (120, 180, 250), 900: (60, 160, 60), 0: (0, 0, 0)}
    content: dict[str, Any] = {"categories": copy.deepcopy(CATEGORIES), "images": [], "annotations": []}
    for image in range(images):
        ids = numbers(image)
        picture = np.zeros((*SIZE, 3), np.uint8)
        for number, color in colors.items():
            picture[ids == number] = color
        Image.fromarray(picture).save(folder / "images" / f"{image}.png")
        encoded = np.stack((ids % 256, ids // 256 % 256, ids // 65536), -1).astype(np.uint8)
        Image.fromarray(encoded).save(folder / "labels" / f"label{image}.png")
        content["images"].append({"id": image + 1, "file_name": f"{image}.png", "height": SIZE[0], "width": SIZE[1]})
        segments = [(900, 9), (66_051, 1), (700_000, 7), (300, 3)]
        info = [{"id": number, "category_id": category, "iscrowd": 0} for number, category in segments]
        # In another order than the images, as COCO's are.
        content["annotations"].insert(
            0, {"image_id": image + 1, "file_name": f"label{image}.png", "segments_info": info}
        )
    if change is not None:
        change(content)
    (folder / "panoptic.json").write_text(json.dumps(content))
    return {"images": folder / "images", "annotations": folder / "panoptic.json", "labels": folder / "labels"}


def truth(ids: Any, *segments: tuple[int, int, int]) -> Targets:
    """Targets with these ids (H, W) and segments (label, is a thing, is a crowd), and no objects."""
    extras = {
        IDS: torch.as_tensor(ids, dtype=torch.int32).as_subclass(SegmentIds),
        SEGMENTS: torch.tensor(segments, dtype=torch.int64).reshape(-1, 3),
    }
    nothing = torch.zeros(0, dtype=torch.int64)
    return Targets(boxes=torch.zeros(0, 4), labels=nothing, image_extras=extras)
