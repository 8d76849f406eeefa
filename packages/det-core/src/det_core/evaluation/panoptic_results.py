"""Segments in the COCO panoptic format: a PNG file whose colours are numbers, and an entry in a JSON file."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from det_core.structures import PanopticMap

__all__ = ["to_coco_panoptic"]


def to_coco_panoptic(
    panoptic: PanopticMap, image_id: int | str, category_ids: Sequence[int], file_name: str
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """The colours of a PNG file, uint8 (H, W, 3), and the entry of its image; segments without pixels are left out.

    A colour is the id of a segment, red + 256 green + 65536 blue; black is none. Segments also tell their score, where
    they have one.

    Args:
        panoptic: in the pixels of the image as stored.
        image_id: what the annotation file calls the image.
        category_ids: the annotation file's category of each label.
        file_name: of the PNG file.
    """
    ids = panoptic.ids.cpu().numpy().astype(np.int64)
    colours = np.stack((ids % 256, ids // 256 % 256, ids // 65536), axis=-1).astype(np.uint8)
    segments = []
    for each in panoptic.segments:
        rows, columns = np.nonzero(ids == each["id"])
        if not len(rows):
            continue
        left, top = int(columns.min()), int(rows.min())
        entry = {
            "id": each["id"],
            "category_id": category_ids[each["label"]],
            "area": len(rows),
            "bbox": [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top],
            "iscrowd": 0,
        }
        segments.append(entry | ({"score": each["score"]} if "score" in each else {}))
    return colours, {"image_id": image_id, "file_name": file_name, "segments_info": segments}
