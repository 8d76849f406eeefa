"""Writes results as files that other programs read: pictures of parts and places, arrays, COCO's JSON."""

import base64
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from det_core.predict.result import Result
from numpy.typing import NDArray
from PIL import Image

from det_densepose.results.access import iuv, persons, vertices
from det_densepose.results.conversion import ChartResult

__all__ = ["CocoWriter", "IuvWriter", "densepose_coco", "iuv_arrays", "write_densepose_coco", "write_iuv"]


class _Name(Protocol):
    """How an image is called: its number, its file, and a name for a picture of it that no other image has."""

    id: int
    file_name: str
    picture: str


class IuvWriter:
    """Writes NAME_IUV.png and NAME_IUV.npz of each image, as `write_iuv` does: `det predict --save iuv`.

    Args:
        folder: existing folder for the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, result: Result, name: _Name) -> None:
        """Write the files of one image."""
        _write_iuv(result, self._folder, Path(name.picture).stem)

    def finish(self) -> None:
        """Nothing is left to do."""


class CocoWriter:
    """Writes densepose_coco.json with the objects of all images: `det predict --save densepose-coco`.

    Args:
        folder: existing folder for the file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records: list[dict[str, Any]] = []

    def write(self, result: Result, name: _Name) -> None:
        """Add the objects of one image."""
        self._records += [{**each, "file_name": name.file_name} for each in densepose_coco(result, name.id)]

    def finish(self) -> None:
        """Write the file."""
        (self._folder / "densepose_coco.json").write_text(json.dumps(self._records), encoding="utf-8")


def iuv_arrays(result: Result) -> dict[str, NDArray[Any]]:
    """What the npz file of an image holds, NumPy arrays without objects.

    `size` (2,), height and width; `boxes` float32 (N, 4) xyxy; `scores` (N,); `labels` (N,), numbers of `classes`;
    `int_boxes` int64 (N, 4), x, y, width and height in whole pixels. For person k of a chart model `parts_k` uint8
    (h, w), `uv_k` float32 (2, h, w) and each confidence `NAME_k` (h, w), over its int box; of an embedding model
    `mask_k` bool (h, w), `vertices_k` int32 (h, w) and `mesh_k`.
    """
    detections = result.detections
    each = persons(result)
    arrays: dict[str, NDArray[Any]] = {
        "size": np.array(detections.size),
        "boxes": detections.boxes.cpu().numpy(),
        "scores": detections.scores.cpu().numpy(),
        "labels": detections.labels.cpu().numpy(),
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
        written += _write_iuv(result, folder, stem)
    return written


def _write_iuv(result: Result, folder: Path, stem: str) -> list[Path]:
    arrays = iuv_arrays(result)
    picture = iuv(result) if "mesh_0" not in arrays else _vertex_picture(vertices(result))
    places = [folder / f"{stem}_IUV.png", folder / f"{stem}_IUV.npz"]
    Image.fromarray(picture).save(places[0])
    np.savez_compressed(places[1], **arrays)  # type: ignore[arg-type]
    return places


def _vertex_picture(numbers: NDArray[np.int32]) -> NDArray[np.uint8]:
    visible = numbers >= 0
    high, low = np.divmod(np.maximum(numbers, 0), 256)
    return np.stack((visible * 255, high, low), -1).astype(np.uint8)


def densepose_coco(result: Result, image_id: int | str) -> list[dict[str, Any]]:
    """The objects of an image in the result format of COCO's DensePose challenge, ready for JSON.

    `bbox` is x, y, width, height; `uv_shape` (3, h, w) and `uv_data`, a PNG in base64, hold part, 255 u and 255 v over
    the box in whole pixels. Of an embedding model there are `vertex_data`, a PNG as `write_iuv` makes, and `ref_model`.
    """
    records = []
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
        records.append(about)
    return records


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
