"""Writes results as files that other programs read: pictures of parts and places, arrays, COCO's JSON."""

import base64
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from det_core.predict.result import Result
from numpy.typing import NDArray
from PIL import Image

from det_densepose.results.access import iuv, persons, vertices
from det_densepose.results.conversion import ChartResult

__all__ = ["densepose_coco", "iuv_arrays", "write_densepose_coco", "write_iuv"]


def iuv_arrays(result: Result) -> dict[str, NDArray[Any]]:
    """What the npz file of an image holds, NumPy arrays without objects.

    `size` (2,), height and width; `boxes` float32 (N, 4) xyxy; `scores` (N,); `labels` (N,), numbers of `classes`;
    `int_boxes` int64 (N, 4), x, y, width and height in whole pixels. For person k of a chart model `parts_k` uint8
    (h, w), `uv_k` float32 (2, h, w) and each confidence `NAME_k` (h, w), over its int box; of an embedding model
    `mask_k` bool (h, w), `vertices_k` int32 (h, w) and `mesh_k`.
    """
    found = result.detections
    each = persons(result)
    arrays: dict[str, NDArray[Any]] = {
        "size": np.array(found.size),
        "boxes": found.boxes.cpu().numpy(),
        "scores": found.scores.cpu().numpy(),
        "labels": found.labels.cpu().numpy(),
        "classes": np.array(list(result.classes), np.str_),
        "int_boxes": np.array([person.box for person in each], np.int64).reshape(-1, 4),
    }
    for number, person in enumerate(each):
        if isinstance(person, ChartResult):
            arrays |= {f"parts_{number}": person.labels, f"uv_{number}": person.uv}
        else:
            arrays |= {f"mask_{number}": person.mask, f"vertices_{number}": person.vertices}
            arrays[f"mesh_{number}"] = np.array(person.mesh)
        arrays |= {f"{name}_{number}": values for name, values in person.confidences.items()}
    return arrays


def write_iuv(results: Iterable[Result], folder: Path) -> list[Path]:
    """Write NAME_IUV.png and NAME_IUV.npz of each image into `folder`; returns the paths.

    The PNG has the image's size and three channels. Of charts: part, 255 u, 255 v. Of vertices, which have no u and v:
    255 where an object is, and the number of the vertex in two bytes, the higher one first. The npz is `iuv_arrays`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, result in enumerate(results):
        stem = result.path.stem if result.path is not None else f"image{number}"
        if (folder / f"{stem}_IUV.png") in written:
            stem = f"{stem}_{number}"
        arrays = iuv_arrays(result)
        picture = iuv(result) if "mesh_0" not in arrays else _vertex_picture(vertices(result))
        Image.fromarray(picture).save(folder / f"{stem}_IUV.png")
        np.savez_compressed(folder / f"{stem}_IUV.npz", **arrays)  # type: ignore[arg-type]
        written += [folder / f"{stem}_IUV.png", folder / f"{stem}_IUV.npz"]
    return written


def _vertex_picture(numbers: NDArray[np.int32]) -> NDArray[np.uint8]:
    shown = numbers >= 0
    high, low = np.divmod(np.maximum(numbers, 0), 256)
    return np.stack((shown * 255, high, low), -1).astype(np.uint8)


def densepose_coco(result: Result, image_id: int | str) -> list[dict[str, Any]]:
    """The objects of an image in the result format of COCO's DensePose challenge, ready for JSON.

    `bbox` is x, y, width, height; `uv_shape` (3, h, w) and `uv_data`, a PNG in base64, hold part, 255 u and 255 v over
    the box in whole pixels. Of an embedding model there are `vertex_data`, a PNG as `write_iuv` makes, and `ref_model`.
    """
    found = []
    for row, person in enumerate(persons(result)):
        box = result.detections.boxes[row].tolist()
        about: dict[str, Any] = {
            "image_id": image_id,
            "category_id": int(result.category_ids[int(result.detections.labels[row])]),
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "score": float(result.detections.scores[row]),
        }
        if isinstance(person, ChartResult):
            values = person.quantized
            about |= {"uv_shape": list(values.shape), "uv_data": _png(values.transpose(1, 2, 0))}
        else:
            picture = _vertex_picture(np.where(person.mask, person.vertices, -1))
            about |= {"vertex_data": _png(picture), "ref_model": person.mesh}
        found.append(about)
    return found


def _png(values: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(file, format="png", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def write_densepose_coco(results: Iterable[Result], folder: Path) -> list[Path]:
    """Write `densepose_coco.json` with the objects of all images into `folder`; returns its path.

    An image is called by the number that its file name is, as COCO's are, or by its file name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    for number, result in enumerate(results):
        stem = result.path.stem if result.path is not None else str(number)
        image_id: int | str = int(stem) if stem.isascii() and stem.isdecimal() else result.path.name  # type: ignore[union-attr]
        records += densepose_coco(result, image_id)
    file = folder / "densepose_coco.json"
    file.write_text(json.dumps(records), encoding="utf-8")
    return [file]
