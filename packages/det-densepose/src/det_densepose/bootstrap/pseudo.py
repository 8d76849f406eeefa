"""Annotation files made of a model's predictions, to train the next model on beside real ones."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from det_core.predict.result import Result
from torch import Tensor

from det_densepose.bootstrap.samplers import PointSampler, coarse_labels, coarse_masks, sampled_points
from det_densepose.evaluation.regions import pasted_rle
from det_densepose.results.access import persons, raw_fields

__all__ = ["pseudo_annotations"]


def pseudo_annotations(
    results: Iterable[Result],
    sampler: PointSampler,
    min_score: float = 0.8,
    seed: int = 0,
    root: Path | None = None,
) -> dict[str, Any]:
    """A file in the format of DensePose-COCO: boxes, masks, coarse parts and points of the surest predictions.

    Args:
        results: of a detector, images with their paths.
        sampler: which points.
        min_score: objects of a lower score are left out, and images without any.
        seed: of the drawing; each image has its own numbers, whatever the others are.
        root: file names are told from this folder; None: names alone.

    Images are listed by their files; `det_densepose.data.DensePoseDataset` reads the file, and `concat` mixes it with
    annotated data by weight.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories: dict[int, str] = {}
    for number, result in enumerate(results, 1):
        found = result.detections
        kept = [row for row, score in enumerate(found.scores.tolist()) if score >= min_score]
        if not kept:
            continue
        random = np.random.default_rng((seed, number))
        fields = {n: v.as_subclass(Tensor).detach().cpu().numpy() for n, v in raw_fields(found).items()}
        every = persons(result)
        before = len(annotations)
        for row in kept:
            points = sampled_points(every[row], sampler.draw(every[row], random))
            if not points["dp_x"]:
                continue
            label = int(found.labels[row])
            category = int(result.category_ids[label])
            categories[category] = str(result.classes[label])
            x, y, width, height = every[row].box
            rle = pasted_rle(every[row].mask, (x, y, width, height), found.size)
            masks = coarse_masks(coarse_labels({name: each[row] for name, each in fields.items()}))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images) + 1,
                    "category_id": category,
                    "bbox": [x, y, width, height],
                    "area": int(every[row].mask.sum()),
                    "iscrowd": 0,
                    "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode()},
                    "dp_masks": masks,
                    "score": float(found.scores[row]),
                    **points,
                }
            )
        if len(annotations) > before:
            height, width = found.size
            images.append({"id": len(images) + 1, "file_name": _name(result, root), "height": height, "width": width})
    named = [{"id": number, "name": name} for number, name in sorted(categories.items())]
    info = {
        "description": f"drawn from predictions: {sampler.kind}, {sampler.count} a part, score {min_score:g} and up"
    }
    return {"info": info, "images": images, "annotations": annotations, "categories": named}


def _name(result: Result, root: Path | None) -> str:
    if result.path is None:
        return ""
    path = result.path.resolve()
    return path.relative_to(root.resolve()).as_posix() if root is not None else path.name
