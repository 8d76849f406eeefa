"""Simulated detections: perturbed ground truth of a COCO file, for tests of evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

__all__ = ["perturbed"]


def perturbed(content: Mapping[str, Any], seed: int = 0, levels: int = 50) -> list[dict[str, Any]]:
    """Results in COCO's format, simulated from the objects of a COCO file.

    A fifth of the objects is missed, the others are detected with a small offset, some of them twice, and one in ten
    with another class; every third image has detections without an object. Results have masks and keypoints if the
    ground truth has them.

    Args:
        content: COCO content with the lists "images", "annotations" and "categories".
        seed: seed of the random numbers.
        levels: number of different scores, so that many are equal.
    """
    rng = np.random.default_rng(seed)
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    categories = [category["id"] for category in content["categories"]]
    results: list[dict[str, Any]] = []
    for annotation in content["annotations"]:
        for _ in range(int(rng.choice([0, 1, 1, 1, 2]))):
            height, width = sizes[annotation["image_id"]]
            x, y, w, h = annotation["bbox"]
            dx, dy = (rng.normal(0, 0.08, 2) * (w, h)).tolist()
            scale = float(np.exp(rng.normal(0, 0.1)))
            wrong = rng.random() < 0.1
            result = {
                "image_id": annotation["image_id"],
                "category_id": int(rng.choice(categories)) if wrong else annotation["category_id"],
                "bbox": [x + dx, y + dy, w * scale, h * scale],
                "score": float(rng.integers(1, levels + 1)) / levels,
            }
            if annotation.get("segmentation"):
                result["segmentation"] = _moved(annotation["segmentation"], dx, dy, height, width)
            if annotation.get("keypoints"):
                points = np.array(annotation["keypoints"], float).reshape(-1, 3)
                points[:, :2] += rng.normal(0, 0.05 * np.sqrt(w * h), (len(points), 2))
                result["keypoints"] = points.ravel().tolist()
            results.append(result)
    return results + _false_alarms(content, results, rng, levels)


def _moved(segmentation: Any, dx: float, dy: float, height: int, width: int) -> dict[str, Any]:
    """Polygons, translated, as RLE; RLE is unchanged."""
    if isinstance(segmentation, list):
        shift = np.array([dx, dy])
        rings = [(np.reshape(ring, (-1, 2)) + shift).ravel().tolist() for ring in segmentation]
        rle = coco_mask.merge(coco_mask.frPyObjects(rings, height, width))
    else:
        counted = isinstance(segmentation["counts"], list)
        rle = coco_mask.frPyObjects(segmentation, height, width) if counted else segmentation
    counts = rle["counts"]
    return {"size": [height, width], "counts": counts.decode() if isinstance(counts, bytes) else counts}


def _false_alarms(
    content: Mapping[str, Any], results: Sequence[Mapping[str, Any]], rng: np.random.Generator, levels: int
) -> list[dict[str, Any]]:
    """Detections at random positions in every third image, with the fields of the other results."""
    fields = {key: result[key] for result in results for key in ("segmentation", "keypoints") if key in result}
    detections: list[dict[str, Any]] = []
    for image in content["images"][::3]:
        height, width = image["height"], image["width"]
        for _ in range(3):
            w, h = (rng.uniform(0.05, 0.5, 2) * (width, height)).tolist()
            x, y = (rng.random(2) * (width - w, height - h)).tolist()
            result = {
                "image_id": image["id"],
                "category_id": int(rng.choice([category["id"] for category in content["categories"]])),
                "bbox": [x, y, w, h],
                "score": float(rng.integers(1, levels + 1)) / levels,
            }
            if "segmentation" in fields:
                result["segmentation"] = _moved([[x, y, x + w, y, x + w, y + h]], 0, 0, height, width)
            if "keypoints" in fields:
                points = rng.random((len(fields["keypoints"]) // 3, 3)) * (w, h, 1) + (x, y, 0)
                result["keypoints"] = points.ravel().tolist()
            detections.append(result)
    return detections
