"""Predictions as COCO-form JSON, a drawn picture, or NumPy arrays."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from det_core.predict import Result
from torch import Tensor

__all__ = ["MEDIA_TYPES", "arrays_of", "coco", "entries_of", "form_of", "npz", "to_png"]

MEDIA_TYPES = {"json": "application/json", "png": "image/png", "npz": "application/x-npz"}


def form_of(accept: str) -> str:
    """The form of an answer by the header Accept: the first of its types that is one, else "json"."""
    types = [each.partition(";")[0].strip().lower() for each in accept.split(",")]
    forms = {media_type: form for form, media_type in MEDIA_TYPES.items()}
    return next((forms[each] for each in types if each in forms), "json")


def entries_of(result: Result, image_id: int, name: str) -> dict[str, Any]:
    """The image with its segments, its annotations in the COCO results format, and the name of each category id."""
    height, width = result.image.shape[1:]
    annotations = [] if result.prediction.detections is None else result.to_coco(image_id)
    image: dict[str, Any] = {"id": image_id, "file_name": name, "height": int(height), "width": int(width)}
    image["segments"] = _segments(result)
    categories = dict(zip(result.category_ids, result.classes, strict=True))
    return {"image": image, "annotations": annotations, "categories": categories}


def _segments(result: Result) -> list[dict[str, Any]]:
    """The segments of a panoptic or semantic map: category, area in pixels, and of a panoptic one id and score."""
    panoptic, semantic = result.prediction.panoptic, result.prediction.semantic
    if panoptic is not None:
        ids, areas = panoptic.ids.unique(return_counts=True)
        area = dict(zip(ids.tolist(), areas.tolist(), strict=True))
        return [
            {"category_id": result.category_ids[each["label"]], "area": area.get(each["id"], 0)}
            | {key: each[key] for key in ("id", "score") if key in each}
            | {"isthing": int(each["is_thing"])}
            for each in panoptic.segments
        ]
    if semantic is None:
        return []
    labels, areas = semantic.logits.argmax(0).unique(return_counts=True)
    pairs = zip(labels.tolist(), areas.tolist(), strict=True)
    return [{"category_id": result.category_ids[label], "area": area} for label, area in pairs]


def coco(model: str, parts: Sequence[Mapping[str, Any]]) -> bytes:
    """JSON of the entries of all pictures: `images`, `annotations` and `categories`, ids of annotations counted on."""
    annotations = [each for part in parts for each in part["annotations"]]
    for number, each in enumerate(annotations):
        each["id"] = number
    names = {number: name for part in parts for number, name in part["categories"].items()}
    categories = [{"id": number, "name": name} for number, name in names.items()]
    images = [part["image"] for part in parts]
    content = {"model": model, "images": images, "annotations": annotations, "categories": categories}
    return json.dumps(content, allow_nan=False).encode()


def to_png(result: Result) -> bytes:
    """The picture with its predictions drawn, as PNG."""
    content = io.BytesIO()
    result.plot().save(content, "PNG", compress_level=1)
    return content.getvalue()


def arrays_of(result: Result) -> dict[str, Any]:
    """Arrays in the names and shapes of an exported file: boxes, scores, labels, masks, keypoints; and maps.

    `semantic` is int64 (H, W), the label of each pixel, `panoptic` int32 (H, W), the id of its segment.
    """
    prediction = result.prediction
    arrays: dict[str, Any] = {"size": np.array(result.image.shape[1:])}
    if prediction.detections is not None:
        detections = prediction.detections
        fields = {name: getattr(detections, name) for name in ("boxes", "scores", "labels", "masks", "keypoints")}
        fields |= {f"extras.{name}": value for name, value in detections.extras.items()}
        arrays |= {name: value.detach().cpu().numpy() for name, value in fields.items() if isinstance(value, Tensor)}
    if prediction.semantic is not None:
        arrays["semantic"] = prediction.semantic.logits.argmax(0).cpu().numpy()
    if prediction.panoptic is not None:
        arrays["panoptic"] = prediction.panoptic.ids.cpu().numpy()
    return arrays


def npz(parts: Sequence[Mapping[str, Any]]) -> bytes:
    """The arrays of all pictures; where there are several, a name starts with the number of its picture, `0.boxes`."""
    content = io.BytesIO()
    if len(parts) == 1:
        np.savez(content, **parts[0])
    else:
        np.savez(
            content, **{f"{number}.{name}": value for number, each in enumerate(parts) for name, value in each.items()}
        )
    return content.getvalue()
