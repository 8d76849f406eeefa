"""Rendered pictures as annotations in the format of DensePose-COCO, and a whole dataset of them in a folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from det_densepose.bodies.body import FIGURE
from det_densepose.bodies.symmetry import COARSE_OF_PART
from det_densepose.render.raster import Layers
from det_densepose.render.scene import Figure, Scenery
from det_densepose.structures import NUM_COARSE_PARTS

__all__ = ["annotation", "dense_ground_truth", "write_dataset"]

_GRID = 256


def annotation(figure: Figure, random: np.random.Generator, per_part: int = 8) -> dict[str, Any]:
    """The annotation of a figure: box, mask, coarse parts, and points on charts and vertices.

    Args:
        figure: rendered figure to annotate.
        random: random number generator for the points.
        per_part: maximum number of points of a visible part.

    The box is tight around the visible pixels; each point is the middle of a pixel, with the part, u, v and vertex that
    the renderer drew there.
    """
    layers, visible = figure.layers, figure.visible
    ys, xs = np.nonzero(visible)
    x, y = int(xs.min()), int(ys.min())
    width, height = int(xs.max()) + 1 - x, int(ys.max()) + 1 - y
    rows: list[NDArray[np.int64]] = []
    parts = layers.part[ys, xs]
    for part in np.unique(parts):
        pixels = np.flatnonzero(parts == part)
        rows.append(np.sort(random.permutation(pixels)[:per_part]))
    points = np.concatenate(rows)
    py, px = ys[points], xs[points]
    return {
        "bbox": [x, y, width, height],
        "area": int(visible.sum()),
        "iscrowd": 0,
        "segmentation": _rle(visible),
        "dp_x": ((px + 0.5 - x) * (_GRID / width)).round(4).tolist(),
        "dp_y": ((py + 0.5 - y) * (_GRID / height)).round(4).tolist(),
        "dp_I": layers.part[py, px].tolist(),
        "dp_U": layers.u[py, px].round(5).tolist(),
        "dp_V": layers.v[py, px].round(5).tolist(),
        "dp_vertex": layers.vertex[py, px].tolist(),
        "ref_model": FIGURE,
        "dp_masks": _coarse_masks(layers, visible, (x, y, width, height)),
    }


def _rle(mask: NDArray[np.bool_]) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def _coarse_masks(layers: Layers, visible: NDArray[np.bool_], box: tuple[int, int, int, int]) -> list[Any]:
    """One RLE for each coarse part on the grid of the box; [] for invisible ones."""
    x, y, width, height = box
    center = (np.arange(_GRID) + 0.5) / _GRID
    rows, columns = (y + center * height).astype(int)[:, None], (x + center * width).astype(int)[None]
    labels = np.array(COARSE_OF_PART)[np.where(visible, layers.part, 0)[rows, columns]]
    return [_rle(labels == n) if (labels == n).any() else [] for n in range(1, NUM_COARSE_PARTS + 1)]


def dense_ground_truth(figures: tuple[Figure, ...], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Part, 255 u and 255 v of every pixel, uint8 (H, W, 3), zeros where no figure is."""
    picture = np.zeros((*size, 3), np.uint8)
    for each in figures:
        values = np.stack((each.layers.part, each.layers.u * 255, each.layers.v * 255), -1)
        picture[each.visible] = values[each.visible].astype(np.uint8)
    return picture


def write_dataset(
    folder: Path, count: int, scenery: Scenery, seed: int = 0, per_part: int = 8, dense: bool = False
) -> Path:
    """Write `count` pictures into `folder`/images and `folder`/annotations.json, which is returned.

    The same arguments make the same files. `dense` also writes the ground truth of each pixel into `folder`/dense.
    """
    images: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    if dense:
        (folder / "dense").mkdir(exist_ok=True)
    for number in range(1, count + 1):
        random = np.random.default_rng((seed, number))
        picture = scenery.picture(random)
        name = f"{number:06d}.png"
        Image.fromarray(picture.image).save(folder / "images" / name)
        if dense:
            Image.fromarray(dense_ground_truth(picture.figures, scenery.size)).save(
                folder / "dense" / f"{number:06d}_IUV.png"
            )
        images.append({"id": number, "file_name": name, "height": scenery.size[0], "width": scenery.size[1]})
        for each in picture.figures:
            about = annotation(each, random, per_part)
            records.append({"id": len(records) + 1, "image_id": number, "category_id": 1, **about})
    content = {
        "info": {"description": "Synthetic figure of det-densepose, Apache-2.0", "seed": seed},
        "images": images,
        "annotations": records,
        "categories": [{"id": 1, "name": "person"}],
    }
    file = folder / "annotations.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file
