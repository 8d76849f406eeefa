"""Segments in the COCO panoptic format: a PNG file with segment ids as colors, and an entry in a JSON file."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from det_core.structures import PanopticMap

__all__ = ["to_coco_panoptic"]


def to_coco_panoptic(
    panoptic: PanopticMap, image_id: int | str, category_ids: Sequence[int], file_name: str
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Colors of a PNG file, uint8 (H, W, 3), and the entry of its image; segments without pixels are left out.

    The color of a segment is its id, red + 256 green + 65536 blue; black is void. Entries include the score of segments
    that have one.

    Args:
        panoptic: panoptic map at the size of the stored image.
        image_id: image id in the annotation file.
        category_ids: category id in the annotation file, by label.
        file_name: name of the PNG file.
    """
    ids = panoptic.ids.cpu().numpy().astype(np.int64)
    colors = np.stack((ids % 256, ids // 256 % 256, ids // 65536), axis=-1).astype(np.uint8)
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
    return colors, {"image_id": image_id, "file_name": file_name, "segments_info": segments}
