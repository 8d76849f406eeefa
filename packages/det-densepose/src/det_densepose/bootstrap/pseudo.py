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
        results: results of a detector for images with paths.
        sampler: selection of the annotated points of a person.
        min_score: minimum score of objects, in [0, 1]; images without objects are skipped.
        seed: seed of the random number generators, one for each image.
        root: folder to which file names are relative; None for names without folders.

    Images are listed by their files; `det_densepose.data.DensePoseDataset` reads the file, and `concat` puts it beside
    annotated data.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories: dict[int, str] = {}
    for number, result in enumerate(results, 1):
        detections = result.detections
        rows = [row for row, score in enumerate(detections.scores.tolist()) if score >= min_score]
        if not rows:
            continue
        random = np.random.default_rng((seed, number))
        records = [each for row in rows if (each := _annotation(result, row, sampler, random))["dp_x"]]
        for each in records:
            categories[each["category_id"]] = str(result.classes[list(result.category_ids).index(each["category_id"])])
            annotations.append({"id": len(annotations) + 1, "image_id": len(images) + 1, **each})
        if records:
            height, width = detections.size
            images.append({"id": len(images) + 1, "file_name": _name(result, root), "height": height, "width": width})
    named = [{"id": number, "name": name} for number, name in sorted(categories.items())]
    info = {
        "description": f"drawn from predictions: {sampler.kind}, {sampler.count} a part, score {min_score:g} and up"
    }
    return {"info": info, "images": images, "annotations": annotations, "categories": named}


def _annotation(result: Result, row: int, sampler: PointSampler, random: np.random.Generator) -> dict[str, Any]:
    """The annotation of one detection; without points if none can be sampled."""
    detection = result.detections[row : row + 1]
    [person] = persons(detection)
    fields = {name: each.as_subclass(Tensor).detach().cpu().numpy()[0] for name, each in raw_fields(detection).items()}
    x, y, width, height = person.box
    rle = pasted_rle(person.mask, (x, y, width, height), detection.size)
    return {
        "category_id": int(result.category_ids[int(detection.labels[0])]),
        "bbox": [x, y, width, height],
        "area": int(person.mask.sum()),
        "iscrowd": 0,
        "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode()},
        "dp_masks": coarse_masks(coarse_labels(fields)),
        "score": float(detection.scores[0]),
        **sampled_points(person, sampler.draw(person, random)),
    }


def _name(result: Result, root: Path | None) -> str:
    if result.path is None:
        return ""
    path = result.path.resolve()
    return path.relative_to(root.resolve()).as_posix() if root is not None else path.name
